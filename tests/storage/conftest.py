from tests.bucket import bucket, object_store, store

__all__ = ["bucket", "object_store", "store"]
