/// What the guardian and the server print: the end of it for error messages, and the facts that are read from it.
struct ServerLog {
    /// What the guardian prints in front of the server's process id.
    static let pidPrefix = "guardian: server pid "

    private static let linesKept = 40

    private var lines: [String] = []
    private var unfinished: [UInt8] = []

    private(set) var serverPID: Int32?
    private(set) var isAcceptingConnections = false
    private(set) var addressWasInUse = false

    var tail: String { lines.joined(separator: "\n") }

    mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                append(line: String(decoding: unfinished, as: UTF8.self))
                unfinished.removeAll(keepingCapacity: true)
            } else {
                unfinished.append(byte)
            }
        }
    }

    private mutating func append(line: String) {
        if line.hasPrefix(Self.pidPrefix) {
            serverPID = Int32(line.dropFirst(Self.pidPrefix.count))
            return
        }
        // The sentence begins differently on a Unix socket and on a port, and from one version to the next.
        if line.contains("eady to accept connections") || line.contains("Sentinel ID is") {
            isAcceptingConnections = true
        }
        if line.contains("Address already in use") { addressWasInUse = true }
        if lines.count == Self.linesKept { lines.removeFirst() }
        lines.append(line)
    }
}
