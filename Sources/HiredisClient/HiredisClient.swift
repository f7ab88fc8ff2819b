// HiredisClient
