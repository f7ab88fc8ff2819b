import ArgumentParser
import Foundation

/// The command `singleflight`.
public struct SingleflightCommand: AsyncParsableCommand {
    /// Its name, its help and its subcommands.
    public static let configuration = CommandConfiguration(
        commandName: "singleflight",
        abstract: "One flight for each key in the whole cluster: see who leads it, who waits, and try it out.",
        discussion: """
            Examples:
              singleflight demo
              singleflight leases --url redis://127.0.0.1:6379
              singleflight show pages:front-page

            Results go to standard output, messages to standard error.
            Exit status: 0 ok, 1 failure, 2 not found, 64 usage, 69 Redis unreachable, 75 canceled or lease lost,
            77 refused (password, rights), 124 timeout.
            """,
        version: "0.1.0",
        subcommands: [LeasesCommand.self, ShowCommand.self, DemoCommand.self, OriginCommand.self, WorkerCommand.self]
    )

    /// Makes a command without arguments, which prints its help.
    public init() {}

    /// Runs the command line `arguments` (without the program's name) and ends the process.
    public static func main(_ arguments: [String]?) async {
        StandardStream.ignoreBrokenPipes()
        exit(await status(of: arguments ?? Array(CommandLine.arguments.dropFirst())).rawValue)
    }

    private static func status(of arguments: [String]) async -> ExitStatus {
        do {
            var command = try parseAsRoot(GlobalOptions.moved(arguments))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return .success
        } catch is OutputClosed {
            return .success
        } catch {
            return report(error)
        }
    }

    /// Says what went wrong in one place and one way.
    private static func report(_ error: any Error) -> ExitStatus {
        if let silent = error as? SilentExit { return silent.status }
        switch exitCode(for: error) {
        case .success:
            // Asking for help or the version is an error only to the parser.
            try? StandardStream.output.write(fullMessage(for: error) + "\n")
            return .success
        case .validationFailure:
            StandardStream.error.note("singleflight: \(Redaction.withoutSecrets(message(for: error)))")
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
