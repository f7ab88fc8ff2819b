import ArgumentParser

/// The origin's process. Says its port on its first line, ends with its standard input.
struct OriginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-origin", shouldDisplay: false)

    @Option(help: "Milliseconds that an answer takes.")
    var latency = 50

    func run() async throws {
        let server = try await OriginServer(latency: .milliseconds(latency))
        let parent = try await LineChannel.standardStreams()
        parent.send(try JSONText.line(OriginReady(port: server.port)))
        for await _ in parent.lines {}
    }
}

/// The first line of the origin.
struct OriginReady: Codable {
    let port: Int
}
