// PrivateRedis
