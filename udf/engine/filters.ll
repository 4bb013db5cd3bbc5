; Which parts of a scan a statement needs, asked for rows that name their part: see `filters.py`, which gives the bind
; data. It points to a cell with the address of %parts; no bytes yet means that all parts are needed.

%parts = type { i64, ptr }             ; count, a byte for each part
%view  = type { ptr, ptr, ptr, i64 }   ; data, validity, selection, count

declare i32 @duckdb_v2_scalar_function_exec_get_bind_data(ptr, ptr, ptr)
declare i32 @duckdb_v2_scalar_function_exec_get_arg(ptr, i64, ptr, ptr)
declare i32 @duckdb_v2_scalar_function_exec_get_result(ptr, ptr, ptr)
declare i32 @duckdb_v2_scalar_function_exec_get_row_count(ptr, ptr, ptr)
declare i32 @duckdb_v2_vector_get_view(ptr, ptr, ptr)
declare i32 @duckdb_v2_vector_get_data_mutable(ptr, ptr, ptr)

define void @ironlake_part_kept(ptr %info, ptr %context, ptr %error) {
  %cell = alloca ptr
  %argument = alloca ptr
  %result = alloca ptr
  %rows = alloca i64
  %view = alloca %view
  %output = alloca ptr
  %failed1 = call i32 @duckdb_v2_scalar_function_exec_get_bind_data(ptr %info, ptr %cell, ptr %error)
  %failed2 = call i32 @duckdb_v2_scalar_function_exec_get_arg(ptr %info, i64 2, ptr %argument, ptr %error)
  %failed3 = call i32 @duckdb_v2_scalar_function_exec_get_result(ptr %info, ptr %result, ptr %error)
  %failed4 = call i32 @duckdb_v2_scalar_function_exec_get_row_count(ptr %info, ptr %rows, ptr %error)
  %any2 = or i32 %failed1, %failed2
  %any3 = or i32 %any2, %failed3
  %any4 = or i32 %any3, %failed4
  %none4 = icmp eq i32 %any4, 0
  br i1 %none4, label %open, label %done
open:
  %input_vector = load ptr, ptr %argument
  %output_vector = load ptr, ptr %result
  %failed5 = call i32 @duckdb_v2_vector_get_view(ptr %input_vector, ptr %view, ptr %error)
  %failed6 = call i32 @duckdb_v2_vector_get_data_mutable(ptr %output_vector, ptr %output, ptr %error)
  %any6 = or i32 %failed5, %failed6
  %none6 = icmp eq i32 %any6, 0
  br i1 %none6, label %read, label %done
read:
  %slot = load ptr, ptr %cell
  %parts = load ptr, ptr %slot
  %count = load atomic i64, ptr %parts acquire, align 8
  %bytes_slot = getelementptr %parts, ptr %parts, i32 0, i32 1
  %bytes = load ptr, ptr %bytes_slot
  %numbers = load ptr, ptr %view
  %selection_slot = getelementptr %view, ptr %view, i32 0, i32 2
  %selection = load ptr, ptr %selection_slot
  %selected = icmp ne ptr %selection, null
  %written = load ptr, ptr %output
  %last = load i64, ptr %rows
  br label %next
next:
  %row = phi i64 [ 0, %read ], [ %after, %write ]
  %more = icmp ult i64 %row, %last
  br i1 %more, label %place, label %done
place:
  br i1 %selected, label %indirect, label %direct
indirect:
  %entry = getelementptr i32, ptr %selection, i64 %row
  %short = load i32, ptr %entry
  %wide = zext i32 %short to i64
  br label %direct
direct:
  %position = phi i64 [ %row, %place ], [ %wide, %indirect ]
  %number_slot = getelementptr i64, ptr %numbers, i64 %position
  %number = load i64, ptr %number_slot
  %known = icmp ult i64 %number, %count
  br i1 %known, label %look, label %write
look:
  %byte_slot = getelementptr i8, ptr %bytes, i64 %number
  %byte = load i8, ptr %byte_slot
  br label %write
write:
  %kept = phi i8 [ 1, %direct ], [ %byte, %look ]
  %target = getelementptr i8, ptr %written, i64 %row
  store i8 %kept, ptr %target
  %after = add i64 %row, 1
  br label %next
done:
  ret void
}
