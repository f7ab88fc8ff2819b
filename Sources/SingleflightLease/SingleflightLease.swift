// SingleflightLease
