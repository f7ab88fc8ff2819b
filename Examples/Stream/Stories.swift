import AsyncAlgorithms
import HTTPTypes
import Hummingbird
import Logging
import ServiceLifecycle
import SingleflightRedis

/// Tells stories to browsers, by server-sent events. A browser that asks for a story that is being written, at
/// whichever instance, gets all words from the first.
///
/// | event | data |
/// |---|---|
/// | `answered-by` | the instance of this response |
/// | `written-by` | the instance that writes |
/// | a message, with an id | a word |
/// | `restarted` | none; the instance that wrote was lost, and another one begins anew: the words before are void |
/// | `end` | none; these were all words |
/// | `failed` | why there are no more |
///
/// A response that ends with neither of the last two was cut. The browser then asks again by itself, with the id of the
/// last word that it has, and is told what comes after that word.
///
/// What this does not do: an instance that shuts down finishes no story for browsers of other instances. Another
/// instance writes the story anew at once, and the browsers are told `restarted`.
struct Stories: Sendable {
    let instance: String
    let flights: StreamGroup<String, Word>
    /// How long a response may go on when the service shuts down.
    let grace: Duration
    let logger: Logger

    /// What a response waits for.
    private enum Happening: Sendable {
        case event(FlightStream<Word>.Event)
        case end
        case silence
        case shutdown
    }

    func response(_ name: String, to request: Request) -> Response {
        let lastID = HTTPField.Name("Last-Event-ID").flatMap { request.headers[$0] }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                // A browser that goes away lets go of the story, also while no word comes; the last one ends the
                // writing.
                try await request.body.consumeWithCancellationOnInboundClose { _ in
                    try await self.tell(name, after: lastID.flatMap { Place(id: $0) }) { text in
                        try await writer.write(ByteBuffer(string: text))
                    }
                }
                try await writer.finish(nil)
            }
        )
    }

    /// - Parameter place: how far the browser is.
    private func tell(_ name: String, after place: Place?, _ send: (String) async throws -> Void) async throws {
        try await send(ServerSentEvent.retry)
        try await send(ServerSentEvent("answered-by", data: self.instance).text)
        var (place, run) = (place, String?.none)
        do {
            for try await happening in self.happenings(of: name) {
                switch happening {
                case .event(.part(let word)):
                    if let known = place?.run, known != word.place.run {
                        try await send(ServerSentEvent("restarted").text)
                        place = nil
                    }
                    if run != word.place.run {
                        try await send(ServerSentEvent("written-by", data: word.by).text)
                        run = word.place.run
                    }
                    if let place, word.place.number <= place.number { continue }
                    try await send(ServerSentEvent(id: word.place.id, data: word.text).text)
                    place = word.place
                case .event(.restarted):
                    try await send(ServerSentEvent("restarted").text)
                    place = nil
                case .silence:
                    try await send(ServerSentEvent.comment)
                case .end:
                    return try await send(ServerSentEvent("end").text)
                case .shutdown:
                    // Without an end: the browser goes on at another instance.
                    return
                }
            }
        } catch let failure as RemoteFailure {
            // What the writing threw. Where its message is not for strangers, say something else here.
            return try await send(ServerSentEvent("failed", data: failure.message).text)
        } catch let error where error is Cancellation || error is DistributedGroupError {
            // Nothing that is to be told to everybody.
            self.logger.error("no story", metadata: ["name": "\(name)", "error": "\(error)"])
            return try await send(ServerSentEvent("failed", data: "the story cannot be told now").text)
        }
        throw CancellationError()
    }

    private func happenings(of name: String) -> some AsyncSequence<Happening, any Error> {
        let story = self.flights.stream(name) { try await self.write(name, to: $0) }
        let shutdown = AsyncStream<Happening> {
            try? await gracefulShutdown()
            try? await Task.sleep(for: self.grace)
            return .shutdown
        }
        return merge(
            chain(story.events.map { Happening.event($0) }, [Happening.end].async),
            AsyncTimerSequence.repeating(every: .seconds(15)).map { _ in Happening.silence },
            shutdown
        )
    }

    /// Runs at one instance at a time. Its task is canceled when nobody listens any more, anywhere.
    private func write(_ name: String, to writer: StreamWriter<String, Word>) async throws {
        self.logger.info("begins the story \(name)")
        do {
            try await Story.write(name, by: self.instance) { try await writer.write($0) }
            self.logger.info("ends the story \(name)")
        } catch {
            self.logger.info("breaks off the story \(name): \(error)")
            throw error
        }
    }
}
