// swift-tools-version: 6.2

import PackageDescription

// Fuzzing harnesses, run by `make fuzz`. A package of its own: the instrumentation is for nobody else, and of the parent's
// modules only the files that read untrusted bytes are compiled, which need no dependency. `Sources` holds links to them.

let instrumented: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
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
    targets: [
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"]), .brew(["hiredis"])]),
        .target(name: "Singleflight", swiftSettings: instrumented),
        .target(name: "SingleflightLease", dependencies: ["Singleflight"], swiftSettings: instrumented),
        .target(
            name: "HiredisClient",
            dependencies: ["CHiredis"],
            sources: [
                "RESPLimits.swift", "RESPReader.swift", "RESPScanner.swift", "RESPValue.swift",
                "RedisClientError.swift",
                "RedisServerError.swift", "RedisTLS.swift", "RedisURL.swift",
            ],
            swiftSettings: instrumented
        ),
        .target(
            name: "SingleflightRedis",
            dependencies: ["HiredisClient", "Singleflight", "SingleflightLease"],
            sources: [
                "AnnouncementMessage.swift", "Exports.swift", "FlightName.swift", "Keyspace.swift", "LeaseEvent.swift",
                "LeaseRecord+Conversion.swift", "LeaseRecord.swift", "LeaseReplies.swift", "SHA256.swift",
            ],
            swiftSettings: instrumented
        ),
        .target(name: "PrivateRedis", swiftSettings: instrumented),
        .target(
            name: "SingleflightCLI",
            dependencies: ["PrivateRedis", "SingleflightRedis"],
            sources: [
                "Errors/CommandFailure.swift", "Errors/ExitStatus.swift", "Errors/Redaction.swift",
                "Exec/CommandRecording.swift", "Exec/RecordingCodec.swift", "Rendering/SafeText.swift",
                "Rendering/StandardStream.swift",
            ],
            swiftSettings: instrumented
        ),

        // Not instrumented: what the harness itself does is no news to the fuzzer.
        .target(name: "Support", path: "Harnesses/Support"),
        harness("Announcement", "SingleflightRedis"),
        harness("Event", "SingleflightRedis"),
        harness("Key", "SingleflightRedis"),
        harness("Outcome", "SingleflightLease"),
        harness("RESP", "HiredisClient"),
        harness("Record", "SingleflightRedis"),
        harness("Recording", "SingleflightCLI"),
        harness("Reply", "SingleflightRedis", "HiredisClient"),
        harness("Terminal", "SingleflightCLI"),
        harness("URL", "HiredisClient"),
    ],
    swiftLanguageModes: [.v6]
)
