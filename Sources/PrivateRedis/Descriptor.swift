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

    /// Hands the open descriptor over; whoever takes it closes it.
    consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }
}

/// Two connected sockets, one to keep and one to give to a child. Not a pipe, because on Linux Swift sees no way to make
/// one that another thread's child could not inherit for a moment.
struct SocketPair: ~Copyable {
    let ours: Descriptor
    let childs: Descriptor

    init() throws(PrivateRedisError) {
        var ends: [Int32] = [-1, -1]
        #if canImport(Darwin)
            let type = SOCK_STREAM
        #else
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #endif
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw lastError("socketpair") }
        #if canImport(Darwin)
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        #endif
        ours = Descriptor(adopting: ends[0])
        childs = Descriptor(adopting: ends[1])
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
