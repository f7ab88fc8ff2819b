import Foundation
import PrivateRedis

/// The wall clock of a redis-server, which a test moves while the server runs: a library of a few lines that is
/// preloaded into it. The machine's clock, this process's and all monotonic ones stay as they are.
struct ShiftedClock: Sendable {
    struct NoCompiler: Error, CustomStringConvertible {
        let output: String
        var description: String { "neither cc nor clang could build Tests/ShiftedClock/shifted-clock.c: \(output)" }
    }

    private let directory: URL

    /// Starts a server under a clock of its own.
    static func with<Result>(_ body: (PrivateRedis, ShiftedClock) async throws -> Result) async throws -> Result {
        let clock = try ShiftedClock()
        defer { try? FileManager.default.removeItem(at: clock.directory) }
        try clock.move(to: .zero)
        let launcher = [
            "/usr/bin/env", "LD_PRELOAD=\(clock.library.path)", "SHIFTED_CLOCK=\(clock.shift.path)",
        ]
        return try await PrivateRedis.with(.init(launcher: launcher)) { try await body($0, clock) }
    }

    /// Moves the server's clock that far from the true time, at once.
    func move(to shift: Duration) throws {
        let microseconds = Int64(shift / .microseconds(1))
        let bytes = withUnsafeBytes(of: microseconds) { Data($0) }
        // In place, for the server has the file mapped.
        if let file = FileHandle(forUpdatingAtPath: self.shift.path) {
            try file.write(contentsOf: bytes)
            try file.close()
        } else {
            try bytes.write(to: self.shift)
        }
    }

    private var library: URL { self.directory.appending(path: "shifted-clock.so") }
    private var shift: URL { self.directory.appending(path: "shift") }

    private init() throws {
        self.directory = FileManager.default.temporaryDirectory.appending(
            path: "singleflight-clock-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: self.directory, withIntermediateDirectories: true)
        let source = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "ShiftedClock/shifted-clock.c")
        let compiler = Process()
        compiler.executableURL = URL(filePath: "/bin/sh")
        // Swift brings clang along, also where there is no other compiler.
        compiler.arguments = [
            "-c", #"exec "$(command -v cc || command -v clang)" -O1 -shared -fPIC -o "$0" "$1""#, self.library.path,
            source.path,
        ]
        let output = Pipe()
        compiler.standardOutput = output
        compiler.standardError = output
        try compiler.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        compiler.waitUntilExit()
        guard compiler.terminationStatus == 0 else { throw NoCompiler(output: text) }
    }
}
