// Code that uses leases in Redis names the groups that need them, too: one import is enough.
@_exported public import Singleflight
@_exported public import SingleflightLease
