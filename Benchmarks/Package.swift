// swift-tools-version: 6.2

// A package of its own, so that users of swift-singleflight never resolve what only its benchmarks need.
import PackageDescription

let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-singleflight", path: ".."),
        // Without its default traits it needs no jemalloc; allocations are counted by Baselines/allocations.c instead.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.29.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "LocalGroup",
            dependencies: [
                .product(name: "Singleflight", package: "swift-singleflight"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/LocalGroup",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        )
    ],
    swiftLanguageModes: [.v6]
)
