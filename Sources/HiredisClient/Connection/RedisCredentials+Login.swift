import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension RedisCredentials {
    /// As whom to log in now. Completes on `eventLoop`, after `limit` at the latest.
    func login(on eventLoop: any EventLoop, within limit: TimeAmount) -> EventLoopFuture<Login> {
        switch source {
        case .fixed(let login):
            return eventLoop.makeSucceededFuture(login)
        case .file(let user, let path):
            return NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
                do {
                    return Login(user: user, password: try Self.firstLine(of: path))
                } catch let error as RedisFileError {
                    throw RedisClientError(.misconfigured, "no password: \(error)")
                }
            }
        case .closure(let login):
            let promise = eventLoop.makePromise(of: Login.self)
            let timer = eventLoop.scheduleTask(in: limit) {
                promise.fail(RedisClientError(.connectionFailed, "no credentials in time"))
            }
            let task = Task {
                do {
                    promise.succeed(try await login())
                } catch {
                    promise.fail(RedisClientError(.connectionFailed, "no credentials: \(error)", underlying: error))
                }
            }
            promise.futureResult.whenComplete { _ in
                timer.cancel()
                task.cancel()
            }
            return promise.futureResult
        }
    }

    /// Passwords are shorter.
    private static let longestLine = 64 << 10

    /// For a thread that may block.
    private static func firstLine(of path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RedisFileError(path: path, reason: String(cString: strerror(errno))) }
        defer { _ = close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < longestLine, !bytes.contains(UInt8(ascii: "\n")) {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw RedisFileError(path: path, reason: String(cString: strerror(errno))) }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty, let text = String(validating: line, as: UTF8.self) else {
            throw RedisFileError(path: path, reason: "its first line is no password")
        }
        return text
    }
}
