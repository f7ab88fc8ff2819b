#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Two connected sockets, one to keep and one to give to a child, which no other child of ours inherits.
///
/// No pipe, because Swift on Linux sees no call that makes one without a moment in which another thread's child could
/// inherit it; and a child that holds our end keeps its sibling from ever seeing the end of its input.
package struct SocketPair: Sendable {
    package let ours: CInt
    package let childs: CInt

    package init() throws(PrivateRedisError) {
        var ends: [CInt] = [-1, -1]
        #if canImport(Darwin)
            let type = SOCK_STREAM
        #else
            let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        #endif
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw lastError("socketpair") }
        #if canImport(Darwin)
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        #endif
        (ours, childs) = (ends[0], ends[1])
    }

    package func closeOurs() { _ = close(ours) }

    package func closeChilds() { _ = close(childs) }
}
