// SingleflightRedis
