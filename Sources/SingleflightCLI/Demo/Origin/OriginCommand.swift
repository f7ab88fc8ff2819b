import ArgumentParser
import UnixSignals

/// The origin's process. Says its port on its first line; ends with its standard input or, if it is told where to
/// listen, by SIGTERM.
struct OriginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-origin", shouldDisplay: false)

    @Option(help: "Milliseconds that an answer takes.")
    var latency = 50

    @Option(help: "Where to listen, instead of a free port of 127.0.0.1.")
    var listen: HostAndPort?

    func run() async throws {
        if let listen { return try await serve(on: listen) }
        let server = try await OriginServer(latency: .milliseconds(latency))
        let parent = try await LineChannel.standardStreams()
        parent.send(try JSONText.line(OriginReady(port: server.port)))
        for await _ in parent.lines {}
    }

    private func serve(on address: HostAndPort) async throws {
        // Trapped before anybody can know that we run.
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        let server = try await OriginServer(latency: .milliseconds(latency), host: address.host, port: address.port)
        try StandardStream.output.write("origin listens on \(address.host):\(server.port)\n")
        for await _ in signals { break }
        try await server.close()
    }
}

/// The first line of the origin.
struct OriginReady: Codable {
    let port: Int
}
