; The native floor under every aggregate. DuckDB is given these few functions when a database opens; each one finds
; the aggregate's declaration through DuckDB's extra info and jumps to the machine code that Numba made for it,
; which is built when a query first asks for the size of a state. Nothing here touches the interpreter.
;
; A state is one block of DuckDB's memory:
;
;     declaration*   null until the first row arrives (an untouched state is the identity of merge)
;     options*       the parsed options of this group
;     array[k]       the growable arrays
;     scalars        8 bytes each
;
; A growable array owns malloc'ed memory; ironlake_live_arrays counts the ones alive.

%declaration = type { i64, i64, ptr, ptr, ptr, ptr, ptr }  ; state bytes, arrays, update, combine, finalize, compile, default options
%array       = type { ptr, i64, i64 }                 ; memory, length in elements, capacity in bytes
%header      = type { ptr, ptr }

@ironlake_live_arrays = global i64 0

declare ptr  @duckdb_aggregate_function_get_extra_info(ptr)
declare ptr  @malloc(i64)
declare ptr  @realloc(ptr, i64)
declare void @free(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define i64 @ironlake_count_live_arrays() {
  %count = load atomic i64, ptr @ironlake_live_arrays monotonic, align 8
  ret i64 %count
}

; Memory that compiled code reaches by a number; Python fills the table and never frees what is in it.
@ironlake_pinned_count = global i64 0
@ironlake_pinned_table = global ptr null

define i64 @ironlake_pinned(i64 %number) {
  %count = load atomic i64, ptr @ironlake_pinned_count acquire, align 8
  %known = icmp ult i64 %number, %count
  br i1 %known, label %found, label %unknown
found:
  %table = load ptr, ptr @ironlake_pinned_table
  %slot = getelementptr i64, ptr %table, i64 %number
  %address = load i64, ptr %slot
  ret i64 %address
unknown:
  ret i64 0
}

define i64 @ironlake_state_size(ptr %info) {
  %declaration = call ptr @duckdb_aggregate_function_get_extra_info(ptr %info)
  %size = load atomic i64, ptr %declaration acquire, align 8
  %compiled = icmp ne i64 %size, 0
  br i1 %compiled, label %known, label %compile
known:
  ret i64 %size
compile:
  %slot = getelementptr %declaration, ptr %declaration, i32 0, i32 5
  %function = load ptr, ptr %slot
  %built = call i64 %function(ptr %declaration, ptr %info)
  ret i64 %built
}

define void @ironlake_state_init(ptr %info, ptr %state) {
  store %header zeroinitializer, ptr %state
  ret void
}

define void @ironlake_update(ptr %info, ptr %chunk, ptr %states) {
  %declaration = call ptr @duckdb_aggregate_function_get_extra_info(ptr %info)
  %slot = getelementptr %declaration, ptr %declaration, i32 0, i32 2
  %function = load ptr, ptr %slot
  tail call void %function(ptr %declaration, ptr %info, ptr %chunk, ptr %states)
  ret void
}

define void @ironlake_combine(ptr %info, ptr %sources, ptr %targets, i64 %count) {
  %declaration = call ptr @duckdb_aggregate_function_get_extra_info(ptr %info)
  %slot = getelementptr %declaration, ptr %declaration, i32 0, i32 3
  %function = load ptr, ptr %slot
  tail call void %function(ptr %declaration, ptr %info, ptr %sources, ptr %targets, i64 %count)
  ret void
}

; When a result cannot be written, the query ends, and DuckDB does not destroy the states that it was finishing.
define void @ironlake_finalize(ptr %info, ptr %states, ptr %result, i64 %count, i64 %offset) {
  %declaration = call ptr @duckdb_aggregate_function_get_extra_info(ptr %info)
  %slot = getelementptr %declaration, ptr %declaration, i32 0, i32 4
  %function = load ptr, ptr %slot
  %written = call i64 %function(ptr %declaration, ptr %info, ptr %states, ptr %result, i64 %count, i64 %offset)
  %failed = icmp eq i64 %written, 0
  br i1 %failed, label %release, label %done
release:
  call void @ironlake_destroy(ptr %states, i64 %count)
  br label %done
done:
  ret void
}

; Free the arrays of every state that has seen a row. DuckDB calls this on every path, also after an error.
define void @ironlake_destroy(ptr %states, i64 %count) {
entry:
  br label %next_state
next_state:
  %row = phi i64 [ 0, %entry ], [ %row_after, %state_done ]
  %more = icmp ult i64 %row, %count
  br i1 %more, label %visit, label %done
visit:
  %slot = getelementptr ptr, ptr %states, i64 %row
  %state = load ptr, ptr %slot
  %declaration = load ptr, ptr %state
  %untouched = icmp eq ptr %declaration, null
  br i1 %untouched, label %state_done, label %owned
owned:
  store ptr null, ptr %state
  %arrays_slot = getelementptr %declaration, ptr %declaration, i32 0, i32 1
  %arrays = load i64, ptr %arrays_slot
  %first = getelementptr %header, ptr %state, i64 1
  br label %next_array
next_array:
  %index = phi i64 [ 0, %owned ], [ %index_after, %array_done ]
  %another = icmp ult i64 %index, %arrays
  br i1 %another, label %release, label %state_done
release:
  %array = getelementptr %array, ptr %first, i64 %index
  %memory = load ptr, ptr %array
  %empty = icmp eq ptr %memory, null
  br i1 %empty, label %array_done, label %free_array
free_array:
  call void @free(ptr %memory)
  %before = atomicrmw sub ptr @ironlake_live_arrays, i64 1 monotonic
  store %array zeroinitializer, ptr %array
  br label %array_done
array_done:
  %index_after = add i64 %index, 1
  br label %next_array
state_done:
  %row_after = add i64 %row, 1
  br label %next_state
done:
  ret void
}

; Make room for so many bytes. Answers 0 when memory is exhausted; the array is then as it was.
define i64 @ironlake_array_reserve(ptr %array, i64 %bytes) {
  %capacity_slot = getelementptr %array, ptr %array, i32 0, i32 2
  %capacity = load i64, ptr %capacity_slot
  %enough = icmp uge i64 %capacity, %bytes
  br i1 %enough, label %ok, label %grow
grow:
  %memory = load ptr, ptr %array
  %larger = call ptr @realloc(ptr %memory, i64 %bytes)
  %failed = icmp eq ptr %larger, null
  br i1 %failed, label %out_of_memory, label %grown
grown:
  store ptr %larger, ptr %array
  store i64 %bytes, ptr %capacity_slot
  %was_empty = icmp eq ptr %memory, null
  br i1 %was_empty, label %count_it, label %ok
count_it:
  %before = atomicrmw add ptr @ironlake_live_arrays, i64 1 monotonic
  br label %ok
ok:
  ret i64 1
out_of_memory:
  ret i64 0
}

; Make an untouched state a copy of another one, with arrays of its own. Answers 0 when memory is exhausted.
define i64 @ironlake_state_clone(ptr %target, ptr %source) {
entry:
  %declaration = load ptr, ptr %source
  %size = load i64, ptr %declaration
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %size, i1 false)
  %arrays_slot = getelementptr %declaration, ptr %declaration, i32 0, i32 1
  %arrays = load i64, ptr %arrays_slot
  %sources = getelementptr %header, ptr %source, i64 1
  %targets = getelementptr %header, ptr %target, i64 1
  br label %blank
blank:  ; the copied pointers belong to the source: forget them before anything can fail
  %i = phi i64 [ 0, %entry ], [ %i_after, %blank_one ]
  %to_blank = icmp ult i64 %i, %arrays
  br i1 %to_blank, label %blank_one, label %copy
blank_one:
  %blanked = getelementptr %array, ptr %targets, i64 %i
  store %array zeroinitializer, ptr %blanked
  %i_after = add i64 %i, 1
  br label %blank
copy:
  %j = phi i64 [ 0, %blank ], [ %j_after, %next ]
  %to_copy = icmp ult i64 %j, %arrays
  br i1 %to_copy, label %copy_one, label %done
copy_one:
  %from = getelementptr %array, ptr %sources, i64 %j
  %to = getelementptr %array, ptr %targets, i64 %j
  %bytes_slot = getelementptr %array, ptr %from, i32 0, i32 2
  %bytes = load i64, ptr %bytes_slot
  %nothing = icmp eq i64 %bytes, 0
  br i1 %nothing, label %next, label %reserve
reserve:
  %reserved = call i64 @ironlake_array_reserve(ptr %to, i64 %bytes)
  %failed = icmp eq i64 %reserved, 0
  br i1 %failed, label %out_of_memory, label %fill
fill:
  %from_memory = load ptr, ptr %from
  %to_memory = load ptr, ptr %to
  call void @llvm.memcpy.p0.p0.i64(ptr %to_memory, ptr %from_memory, i64 %bytes, i1 false)
  %from_length = getelementptr %array, ptr %from, i32 0, i32 1
  %to_length = getelementptr %array, ptr %to, i32 0, i32 1
  %length = load i64, ptr %from_length
  store i64 %length, ptr %to_length
  br label %next
next:
  %j_after = add i64 %j, 1
  br label %copy
done:
  ret i64 1
out_of_memory:
  ret i64 0
}

declare ptr @duckdb_scalar_function_get_extra_info(ptr)

; A row-wise scalar function: its machine code stands where an aggregate's update stands.
define void @ironlake_scalar(ptr %info, ptr %chunk, ptr %result) {
  %declaration = call ptr @duckdb_scalar_function_get_extra_info(ptr %info)
  %slot = getelementptr %declaration, ptr %declaration, i32 0, i32 2
  %function = load ptr, ptr %slot
  tail call void %function(ptr %declaration, ptr %info, ptr %chunk, ptr %result)
  ret void
}

; DuckDB calls this with a database's cell when the database is destroyed, at any time, on any thread.
define void @ironlake_database_closed(ptr %cell) {
  store atomic i64 0, ptr %cell release, align 8
  ret void
}
