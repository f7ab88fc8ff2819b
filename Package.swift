// swift-tools-version: 6.2

import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "swift-singleflight",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "Singleflight", targets: ["Singleflight"]),
        .library(name: "SingleflightLease", targets: ["SingleflightLease"]),
        .library(name: "SingleflightRedis", targets: ["SingleflightRedis"]),
        .library(name: "SingleflightTestKit", targets: ["SingleflightTestKit"]),
        .executable(name: "singleflight", targets: ["SingleflightTool"]),
    ],
    traits: [
        .default(enabledTraits: ["TLS"]),
        .trait(name: "TLS", description: "rediss:// URLs. Without it, BoringSSL is neither fetched nor built."),
        .trait(name: "Configuration", description: "Stores and groups set up by swift-configuration's ConfigReader."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.0.0", traits: []),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.2.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
    ],
    targets: [
        // In-process coalescing. Depends on nothing, not even Foundation; a test checks it.
        .target(name: "Singleflight", swiftSettings: settings),

        // Leadership across processes, for any store. What it measures and traces goes to the interfaces that every
        // backend implements; none of the three brings anything else along.
        .target(
            name: "SingleflightLease",
            dependencies: [
                "Singleflight",
                .product(
                    name: "Configuration",
                    package: "swift-configuration",
                    condition: .when(traits: ["Configuration"])
                ),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: settings
        ),

        // No `pkgConfig:` here: Debian's hiredis.pc carries a flag that makes SwiftPM warn on every build.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"]), .brew(["hiredis"])]),
        .target(
            name: "HiredisClient",
            dependencies: [
                "CHiredis",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["TLS"])),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "SingleflightRedis",
            dependencies: [
                "HiredisClient",
                "Singleflight",
                "SingleflightLease",
                .product(
                    name: "Configuration",
                    package: "swift-configuration",
                    condition: .when(traits: ["Configuration"])
                ),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            resources: [.embedInCode("Protocol/Scripts")],
            swiftSettings: settings
        ),
        .target(
            name: "SingleflightTestKit",
            dependencies: ["Singleflight", "SingleflightLease"],
            swiftSettings: settings
        ),

        // A redis-server of one's own, for the demo and the tests. Not a product.
        .target(name: "PrivateRedis", swiftSettings: settings),
        .target(
            name: "SingleflightCLI",
            dependencies: [
                "HiredisClient",
                "PrivateRedis",
                "SingleflightRedis",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(name: "SingleflightTool", dependencies: ["SingleflightCLI"], swiftSettings: settings),

        // What follows, up to the tests, proves and measures the package; it is no product.

        // Harms connections to Redis at chosen frames.
        .target(
            name: "FaultProxy",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Verification/FaultProxy",
            swiftSettings: settings
        ),
        // What processes asked a store and were answered, and whether a store that keeps its promises can answer so.
        .target(
            name: "History",
            dependencies: ["SingleflightLease", "SingleflightTestKit"],
            path: "Verification/History",
            swiftSettings: settings
        ),
        // A world in one thread, from one seed, that runs everything between a group and the network.
        .target(
            name: "SingleflightSimulation",
            dependencies: ["Singleflight", "SingleflightLease", "SingleflightTestKit"],
            path: "Verification/Simulation",
            swiftSettings: settings
        ),
        // Flights in trouble, of every kind at every point.
        .target(
            name: "FaultMatrix",
            dependencies: [
                "FaultProxy", "History", "PrivateRedis", "SingleflightCLI", "SingleflightRedis",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Verification/FaultMatrix",
            swiftSettings: settings
        ),
        // Worker processes, and trouble every second.
        .target(
            name: "Soak",
            dependencies: [
                "FaultProxy", "HiredisClient", "History", "PrivateRedis", "SingleflightCLI", "SingleflightRedis",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Verification/Soak",
            swiftSettings: settings
        ),
        // Callers by the million, canceled at random.
        .target(
            name: "Storm",
            dependencies: [
                "Singleflight", "SingleflightLease", "SingleflightTestKit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Verification/Storm",
            swiftSettings: settings
        ),
        // What docs/performance.md promises, against its budgets.
        .target(
            name: "Bench",
            dependencies: [
                "HiredisClient", "PrivateRedis", "Singleflight", "SingleflightCLI", "SingleflightRedis",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Verification/Bench",
            swiftSettings: settings
        ),
        // The simulation with bugs planted in the sources: see scripts/check-mutants.
        .executableTarget(
            name: "Mutants",
            dependencies: ["Singleflight", "SingleflightSimulation"],
            path: "Verification/Mutants",
            exclude: ["bugs.txt"],
            swiftSettings: settings
        ),
        // The one program that runs them all.
        .executableTarget(
            name: "lab",
            dependencies: [
                "Bench", "FaultMatrix", "PrivateRedis", "SingleflightSimulation", "Soak", "Storm",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Verification/Lab",
            swiftSettings: settings
        ),

        // Turns for tests, gates and waits that end. Not a product.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(
            name: "SingleflightTests",
            dependencies: ["Singleflight", "TestSupport"],
            swiftSettings: settings
        ),
        // Backends that remember what they are told, for the tests of several targets.
        .target(
            name: "ObservabilityTestSupport",
            dependencies: [
                "SingleflightLease",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ],
            path: "Tests/ObservabilityTestSupport",
            swiftSettings: settings
        ),
        .testTarget(
            name: "SingleflightLeaseTests",
            dependencies: [
                "History", "ObservabilityTestSupport", "Singleflight", "SingleflightLease", "SingleflightTestKit",
                "TestSupport",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "HiredisClientTests",
            dependencies: [
                "HiredisClient", "ObservabilityTestSupport", "PrivateRedis", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SingleflightRedisTests",
            dependencies: [
                "FaultProxy", "HiredisClient", "History", "ObservabilityTestSupport", "PrivateRedis",
                "SingleflightLease", "SingleflightRedis", "SingleflightTestKit", "TestSupport",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SingleflightSimulationTests",
            dependencies: ["SingleflightLease", "SingleflightSimulation", "SingleflightTestKit", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FaultMatrixTests",
            dependencies: [
                "FaultMatrix", "FaultProxy", "History", "PrivateRedis", "SingleflightCLI", "SingleflightRedis",
                "TestSupport", "lab",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SoakTests",
            dependencies: ["History", "SingleflightCLI", "SingleflightRedis", "SingleflightTestKit", "Soak"],
            swiftSettings: settings
        ),
        .testTarget(name: "BenchTests", dependencies: ["Bench", "SingleflightCLI"], swiftSettings: settings),
        .testTarget(
            name: "PrivateRedisTests",
            dependencies: ["PrivateRedis", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SingleflightCLITests",
            dependencies: [
                "HiredisClient", "PrivateRedis", "SingleflightCLI", "SingleflightRedis", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
    ],
    swiftLanguageModes: [.v6]
)
