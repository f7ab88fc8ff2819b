#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// The count that Benchmarks/Baselines/allocations.c keeps, where that is loaded into this process.
struct AllocationCounter {
    private let read: @convention(c) () -> Int

    init?() {
        guard let symbol = dlsym(nil, "singleflight_allocations") else { return nil }
        // The library's function has exactly this type.
        read = unsafeBitCast(symbol, to: (@convention(c) () -> Int).self)
    }

    var count: Int { read() }
}
