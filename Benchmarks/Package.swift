// swift-tools-version: 6.2

// A package of its own, so that users of swift-singleflight never resolve what only its benchmarks need.
import PackageDescription

let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-singleflight", path: "..", traits: []),
        // Without its default traits it needs no jemalloc, and counts no allocations; Baselines/allocations.c does.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.29.0", traits: []),
    ],
    targets: [
        // The rest of the folder is programs in C, which `make bench` compiles.
        .target(name: "Allocations", path: "Baselines", sources: ["allocations.c"]),
        .executableTarget(
            name: "LocalGroup",
            dependencies: [
                "Allocations",
                .product(name: "Singleflight", package: "swift-singleflight"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/LocalGroup",
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]
        ),
    ],
    swiftLanguageModes: [.v6]
)
