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
        .package(name: "swift-singleflight", path: "..", traits: ["Configuration"]),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.0.0", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.3.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.20.0", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
    ],
    targets: [
        .executableTarget(name: "Quickstart", dependencies: service, path: "Quickstart", exclude: ["run"]),
        // A server in front of a database, for which there is libpq.
        .systemLibrary(
            name: "CPostgres",
            path: "Service/CPostgres",
            providers: [.apt(["libpq-dev"]), .brew(["libpq"])]
        ),
        .executableTarget(
            name: "Service",
            dependencies: service + [
                "CPostgres",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ],
            path: "Service/Sources"
        ),
        .executableTarget(name: "Worker", dependencies: service, path: "Worker", exclude: ["run"]),
    ],
    swiftLanguageModes: [.v6]
)
