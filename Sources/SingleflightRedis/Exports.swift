// Code that uses leases in Redis names the groups that need them, and addresses and credentials, too: one import is
// enough.
@_exported public import HiredisClient
@_exported public import Singleflight
@_exported public import SingleflightLease
