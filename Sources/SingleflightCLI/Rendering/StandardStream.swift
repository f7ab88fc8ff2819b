#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Nobody reads what we write any more, as after `| head`: a reason to end, none to complain.
package struct OutputClosed: Error {}

/// Standard output or standard error, written at once and whole.
package struct StandardStream: Sendable {
    package static let output = StandardStream(descriptor: STDOUT_FILENO)
    package static let error = StandardStream(descriptor: STDERR_FILENO)

    let descriptor: Int32

    /// Without it the default action of SIGPIPE ends the process before it can stop its children.
    package static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// Whether both are the same file, pipe or terminal, as after `2>&1`. Two that lead nowhere have no order to keep.
    static var areOne: Bool {
        var (output, error) = (stat(), stat())
        guard fstat(STDOUT_FILENO, &output) == 0, fstat(STDERR_FILENO, &error) == 0,
            output.st_dev == error.st_dev, output.st_ino == error.st_ino
        else { return false }
        return output.st_mode & S_IFMT != S_IFCHR || isatty(STDOUT_FILENO) == 1
    }

    /// Writes all of `text`.
    ///
    /// - Throws: ``OutputClosed`` when the reader is gone, ``CommandFailure`` when the device refuses (a full disk).
    package func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// Writes all of `bytes`; throws as ``write(_:)-(String)`` does.
    package func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if written >= 0 {
                rest.removeFirst(written)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: waitUntilWritable()
            case EPIPE: throw OutputClosed()
            default: throw CommandFailure("cannot write: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// Writes a line of explanation; there is nobody to tell when that fails.
    package func note(_ line: String) { try? write(line + "\n") }

    /// The other end of a terminal or pipe may have made our descriptor non-blocking.
    private func waitUntilWritable() {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&request, 1, -1)
    }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Darwin)
        Darwin.write(descriptor, bytes, count)
    #else
        Glibc.write(descriptor, bytes, count)
    #endif
}
