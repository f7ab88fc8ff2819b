import ArgumentParser
import Foundation
import Logging

/// From the program's arguments to its exit status.
package enum CommandLineTool {
    /// To be called before anything else, on the main thread: looks at what this process was given, and makes up for
    /// what would harm it.
    package static func prepare() {
        StandardDescriptors.open()
        InheritedState.capture()
        let state = InheritedState.current
        Launcher.becomeCommandIfAsked(state.arguments, environment: state.environment)
        // Where it is ignored, nobody learns how a child ended.
        signal(SIGCHLD, SIG_DFL)
        StandardStream.ignoreBrokenPipes()
    }

    /// Runs the command that this process was started with, and ends the process.
    package static func main() async -> Never {
        // The tool says itself what went wrong, once.
        LoggingSystem.bootstrap { _ in SwiftLogNoOpLogHandler() }
        exit(await status(of: InheritedState.current.arguments.dropFirst().map(ByteText.text)))
    }

    private static func status(of arguments: [String]) async -> Int32 {
        do {
            try DescriptorLimit.check()
            try checkHelp(arguments)
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
            do {
                let text = SingleflightCommand.fullMessage(for: error)
                try StandardStream.output.write(HelpText.withUsageBroken(text, at: HelpText.columns) + "\n")
                return .success
            } catch is OutputClosed {
                return .success
            } catch {
                return report(error, arguments)
            }
        case .validationFailure:
            var message = SingleflightCommand.message(for: error)
            if let command = GlobalOptions.moved(arguments).first.flatMap(UsageHint.command) {
                message += "; did you mean '\(command)'?"
            } else if let hint = UsageHint.value(in: message) {
                message += ": " + hint
            }
            ErrorLine.note(message)
            return .usage
        default:
            let failure = CommandFailure(describing: error)
            ErrorLine.note(failure.description)
            return failure.status
        }
    }

    /// `help nonsense` is a typing error. The parser would show the help of everything instead.
    private static func checkHelp(_ arguments: [String]) throws {
        guard arguments.first == "help", let name = arguments.dropFirst().first, !name.hasPrefix("-") else { return }
        let names = SingleflightCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
        guard names.contains(name) else { throw ValidationError("there is no command '\(name)'") }
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
