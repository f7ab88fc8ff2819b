import ArgumentParser
import Foundation

/// From the program's arguments to its exit status.
package enum CommandLineTool {
    /// Runs the command that this process was started with, and ends the process.
    package static func main() async -> Never {
        StandardStream.ignoreBrokenPipes()
        exit(await status(of: Array(CommandLine.arguments.dropFirst())))
    }

    private static func status(of arguments: [String]) async -> Int32 {
        do {
            try DescriptorLimit.check()
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
            return report(error, arguments).rawValue
        }
    }

    /// Says what went wrong in one place and one way.
    private static func report(_ error: any Error, _ arguments: [String]) -> ExitStatus {
        if let silent = error as? SilentExit { return silent.status }
        switch SingleflightCommand.exitCode(for: error) {
        case .success:
            // Asking for help or the version is an error only to the parser.
            let text = SingleflightCommand.fullMessage(for: error)
            try? StandardStream.output.write(HelpText.withUsageBroken(text, at: HelpText.columns) + "\n")
            return .success
        case .validationFailure:
            var message = SingleflightCommand.message(for: error)
            if let command = GlobalOptions.moved(arguments).first.flatMap(UsageHint.command) {
                message += "; did you mean '\(command)'?"
            } else if let hint = UsageHint.value(in: message) {
                message += ": " + hint
            }
            StandardStream.error.note("singleflight: \(Redaction.withoutSecrets(message))")
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
