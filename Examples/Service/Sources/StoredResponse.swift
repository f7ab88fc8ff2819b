import HTTPTypes
import Hummingbird

/// What of a response crosses processes: its status, the headers that were chosen, and its body.
struct StoredResponse: Codable, Sendable {
    var status: Int
    var headers: HTTPFields
    var body: ByteBuffer

    /// What is passed on where nothing else was chosen. Cookies never are.
    static let headers: [HTTPField.Name] = [.contentType, .contentLanguage, .eTag, .lastModified, .location]

    /// The body is read, and put back in one piece.
    ///
    /// `nil`, and nothing was read, for a body that is too long, or of a length that nobody knows before its end.
    init?(
        _ response: inout Response,
        headers names: [HTTPField.Name] = Self.headers,
        upTo maximumBytes: Int
    ) async throws {
        guard let length = response.body.contentLength, length <= maximumBytes else { return nil }
        let collector = Collector()
        try await response.body.write(collector)
        response.body = ResponseBody(byteBuffer: collector.body)
        self.status = response.status.code
        self.headers = response.headers.filter { names.contains($0.name) }
        self.body = collector.body
    }

    var response: Response {
        Response(
            status: HTTPResponse.Status(code: self.status),
            headers: self.headers,
            body: ResponseBody(byteBuffer: self.body)
        )
    }

    private final class Collector: ResponseBodyWriter {
        var body = ByteBuffer()

        func write(_ buffer: ByteBuffer) {
            self.body.writeImmutableBuffer(buffer)
        }

        func finish(_ trailingHeaders: HTTPFields?) {}
    }
}
