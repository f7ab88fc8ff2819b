#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// A file descriptor with one owner: closed when the owner goes away, and never inherited by a child.
struct Descriptor: ~Copyable {
    let raw: Int32

    init(adopting raw: Int32) {
        self.raw = raw
    }

    deinit {
        _ = close(raw)
    }

    /// Hands the open descriptor over; its new owner closes it.
    consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }
}

/// The error of the system call that has just failed on this thread.
func lastError(_ call: String) -> PrivateRedisError {
    .systemCall(call, code: errno)
}

func errorText(_ code: Int32) -> String {
    guard let text = strerror(code) else { return "error \(code)" }
    return String(cString: text)
}
