// swift-tools-version: 6.2

import PackageDescription

/// What a service that coalesces needs.
let service: [Target.Dependency] = [
    .product(name: "SingleflightRedis", package: "swift-singleflight"),
    .product(name: "Logging", package: "swift-log"),
    .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
]

let package = Package(
    name: "examples",
    platforms: [.macOS(.v15)],
    dependencies: [
        // In a package of yours: .package(url: …, from: "0.2.0"). The trait TLS, a default, is left out, as nothing
        // here speaks it.
        .package(name: "swift-singleflight", path: "..", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
    ],
    targets: [
        .executableTarget(name: "Quickstart", dependencies: service, path: "Quickstart", exclude: ["run"]),
        .executableTarget(name: "Worker", dependencies: service, path: "Worker", exclude: ["run"]),
    ],
    swiftLanguageModes: [.v6]
)
