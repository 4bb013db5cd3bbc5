from . import aggregates, extension
def aggregate(owner=None, **settings):
    def declare(owner):
        d = aggregates.declare(owner, **settings)
        extension.add(d, lambda *a: None)
        return owner
    return declare(owner) if owner is not None else declare
