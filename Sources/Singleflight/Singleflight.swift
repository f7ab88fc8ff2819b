// Singleflight
