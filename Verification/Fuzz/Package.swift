// swift-tools-version: 6.2

import PackageDescription

// Fuzzing harnesses, run by `make fuzz`. A package of its own: the instrumentation is for nobody else, and of the
// parent's modules little more is compiled than the files that read untrusted bytes. `Sources` holds links to them.

let instrumented: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .unsafeFlags(["-sanitize=fuzzer"]),
]

func harness(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .executableTarget(
        name: name,
        dependencies: ["Support"] + dependencies,
        path: "Harnesses/\(name)",
        swiftSettings: instrumented
    )
}

let package = Package(
    name: "fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    ],
    targets: [
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"]), .brew(["hiredis"])]),
        .target(name: "Singleflight", swiftSettings: instrumented),
        .target(
            name: "SingleflightLease",
            dependencies: [
                "Singleflight",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: instrumented
        ),
        .target(
            name: "HiredisClient",
            dependencies: ["CHiredis", .product(name: "NIOCore", package: "swift-nio")],
            sources: [
                "RESP/RESPLimits.swift",
                "RESP/RESPReader.swift",
                "RESP/RESPScanner.swift",
                "RESP/RESPValue.swift",
                "Cluster/HashSlot.swift",
                "Client/RedisClientError.swift",
                "Client/RedisOrder.swift",
                "RESP/RedisCommand.swift",
                "RESP/RedisServerError.swift",
                "Client/RedisTLS.swift",
                "Client/RedisAddress.swift",
                "Client/RedisCredentials.swift",
                "Client/RedisDeployment.swift",
                "Client/RedisTarget.swift",
                "Client/RedisTarget+URL.swift",
                "Client/RedisURL.swift",
            ],
            // Addresses only: what the trait stands for is not compiled here.
            swiftSettings: instrumented + [.define("TLS")]
        ),
        .target(
            name: "SingleflightRedis",
            dependencies: ["HiredisClient", "Singleflight", "SingleflightLease"],
            exclude: ["Protocol/Scripts"],
            sources: [
                "Protocol/AnnouncementMessage.swift",
                "Exports.swift",
                "Protocol/FlightName.swift",
                "Protocol/Keyspace.swift",
                "Protocol/LeaseEvent.swift",
                "Protocol/LeaseRecord+Conversion.swift",
                "Protocol/LeaseRecord.swift",
                "Protocol/LeaseReplies.swift",
                "Protocol/SHA256.swift",
                "ServerErrorAdvice.swift",
            ],
            swiftSettings: instrumented
        ),
        .target(name: "PrivateRedis", swiftSettings: instrumented),
        .target(
            name: "SingleflightCLI",
            dependencies: ["PrivateRedis", "SingleflightRedis", .product(name: "NIOCore", package: "swift-nio")],
            sources: [
                "Errors/CommandFailure.swift", "Errors/ErrorLine.swift", "Errors/ExitStatus.swift",
                "Errors/Redaction.swift", "Exec/CommandRecording.swift", "Exec/RecordingCodec.swift",
                "Processes/ByteText.swift", "Processes/LineDecoder.swift", "Rendering/ByteSize.swift",
                "Rendering/SafeText.swift", "Rendering/StandardStream.swift",
            ],
            swiftSettings: instrumented
        ),

        // Not instrumented: what the harness itself does is no news to the fuzzer.
        .target(name: "Support", path: "Harnesses/Support"),
        harness("Announcement", "SingleflightRedis"),
        harness("Command", "HiredisClient", .product(name: "NIOCore", package: "swift-nio")),
        harness("Event", "SingleflightRedis"),
        harness("Key", "SingleflightRedis", "HiredisClient"),
        harness("Lines", "SingleflightCLI", .product(name: "NIOCore", package: "swift-nio")),
        harness("Outcome", "SingleflightLease"),
        harness("RESP", "HiredisClient"),
        harness("Record", "SingleflightRedis", "HiredisClient"),
        harness("Recording", "SingleflightCLI"),
        harness("Reply", "SingleflightRedis", "HiredisClient"),
        harness("Terminal", "SingleflightCLI"),
        harness("URL", "HiredisClient"),
    ],
    swiftLanguageModes: [.v6]
)
