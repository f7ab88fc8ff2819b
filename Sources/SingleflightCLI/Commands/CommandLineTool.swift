import ArgumentParser
import Foundation
import Logging

/// From the program's arguments to its exit status.
package enum CommandLineTool {
    /// Runs the command that this process was started with, and ends the process.
    package static func main() async -> Never {
        StandardStream.ignoreBrokenPipes()
        // The tool says itself what went wrong, once.
        LoggingSystem.bootstrap { _ in SwiftLogNoOpLogHandler() }
        exit(await status(of: Array(CommandLine.arguments.dropFirst())))
    }

    private static func status(of arguments: [String]) async -> Int32 {
        do {
            var command = try SingleflightCommand.parseAsRoot(GlobalOptions.moved(arguments))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return ExitStatus.success.rawValue
        } catch is OutputClosed {
            return ExitStatus.success.rawValue
        } catch let exit as ForeignExit {
            return exit.status
        } catch {
            return report(error).rawValue
        }
    }

    /// Says what went wrong in one place and one way.
    private static func report(_ error: any Error) -> ExitStatus {
        if let silent = error as? SilentExit { return silent.status }
        switch SingleflightCommand.exitCode(for: error) {
        case .success:
            // Asking for help or the version is an error only to the parser.
            try? StandardStream.output.write(SingleflightCommand.fullMessage(for: error) + "\n")
            return .success
        case .validationFailure:
            StandardStream.error.note(
                "singleflight: \(Redaction.withoutSecrets(SingleflightCommand.message(for: error)))"
            )
            return .usage
        default:
            let failure = CommandFailure(describing: error)
            StandardStream.error.note("singleflight: \(failure.description)")
            return failure.status
        }
    }
}

/// Ends with a status about which everything has been said already.
struct SilentExit: Error {
    let status: ExitStatus
}

/// Ends with the status of another program, which can be any.
struct ForeignExit: Error {
    let status: Int32
}
