import Foundation

/// The built command, run as a user would.
enum Tool {
    struct Run {
        let status: Int32
        let output: String
        let messages: String
    }

    /// Beside the test bundle, where the build puts every product.
    static var path: String {
        get throws {
            let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("singleflight").path
        }
    }

    /// Runs it with no input until it ends; both pipes are drained meanwhile, however much it says.
    static func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> Run {
        try await run(program: path, arguments, environment: environment)
    }

    static func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Run {
        try await run(program: path, arguments, environment: environment)
    }

    /// Writes a shell script that can be executed at once.
    ///
    /// By another process: a file that this one has open to write is open, too, in each child that another test starts
    /// at the same moment, until the child executes its program. Until then nobody can execute the file (`ETXTBSY`).
    static func writeScript(_ text: String, to file: String) async throws {
        let command = #"printf '%s' "$1" > "$2" && chmod 755 "$2""#
        let run = try await self.run(program: "/bin/sh", ["-c", command, "sh", "#!/bin/sh\n\(text)\n", file])
        guard run.status == 0 else { throw ScriptNotWritten(messages: run.messages) }
    }

    struct ScriptNotWritten: Error {
        let messages: String
    }

    /// Any other program, run likewise.
    static func run(program: String, _ arguments: [String], environment: [String: String] = [:]) async throws -> Run {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        let (output, messages) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = messages
        let (ended, continuation) = AsyncStream.makeStream(of: Int32.self)
        process.terminationHandler = {
            continuation.yield($0.terminationStatus)
            continuation.finish()
        }
        try process.run()
        async let outputText = text(of: output.fileHandleForReading)
        async let messageText = text(of: messages.fileHandleForReading)
        let id = process.processIdentifier
        let status = await withTaskCancellationHandler {
            await ended.first { _ in true } ?? -1
        } onCancel: {
            // A test that has run out of time does not wait for what the process still says.
            kill(id, SIGKILL)
        }
        return Run(status: status, output: await outputText, messages: await messageText)
    }

    private static func text(of handle: FileHandle) async -> String {
        await withCheckedContinuation { continuation in
            // A blocking read gets a thread of its own; the cooperative pool has only a few.
            Thread.detachNewThread {
                let data = (try? handle.readToEnd()) ?? Data()
                continuation.resume(returning: String(decoding: data, as: UTF8.self))
            }
        }
    }
}
