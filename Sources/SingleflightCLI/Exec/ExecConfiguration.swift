import Foundation
import SingleflightRedis

/// What a call of `exec` asks for.
struct ExecConfiguration: Sendable {
    /// What to do if the command runs already, elsewhere or here.
    enum IfRunning: String, CaseIterable, Sendable { case wait, skip, replace }

    /// What a process prints whose command runs elsewhere.
    enum Follow: String, CaseIterable, Sendable {
        /// The whole output, once the command is over.
        case print
        /// Nothing.
        case quiet
        /// The output as it comes, from the beginning.
        case live
    }

    var key: [UInt8]
    var group: String
    var words: [[UInt8]]
    var url: String
    var store: RedisLeaseStoreConfiguration
    var lease: Duration
    var patience: Duration?
    var reuse = Duration.zero
    var reuseFailures = Duration.zero
    var slotLength: Duration?
    var jitter = Duration.zero
    var timeout: Duration?
    var takeovers: Int?
    var ifRunning = IfRunning.wait
    var skipStatus: Int32 = 0
    var follow = Follow.print
    var outputLimit = CommandRecording.limit
    var truncatedStatus: Int32?
    var runsAnyway = false
    var requiresCoordination = false
    var passesPassword = false
    var grace: Duration

    /// For messages.
    var shownKey: String { ShellWord.quoted(ByteText.text(key)) }
    var command: CommandIdentity { CommandIdentity(words) }

    func group(on store: some LeaseStore, slot: RunSlot?) throws -> DistributedGroup<RunKey, CommandRecording> {
        try DistributedGroup(
            group,
            store: store,
            configuration: DistributedGroupConfiguration(
                lease: .init(
                    duration: lease,
                    grace: max(lease, .seconds(10)),
                    leaderLoss: takeovers.map { .takeOver(attempts: $0) } ?? .cancel,
                    // A command is to end as soon as another host may run it.
                    onLost: .cancel
                ),
                results: .init(
                    maximumBytes: RecordingCodec.maximumResultBytes,
                    // Followers fetch large outputs, one after the other.
                    retention: .seconds(60),
                    reuse: slot?.remaining ?? reuse,
                    // A slot has one run, whatever comes of it.
                    reuseFailures: slot?.remaining ?? reuseFailures,
                    typedFailures: FailedRun.crossing
                ),
                // A command may take as long as it wants to; a year is no limit and can be computed with.
                limits: .init(flight: .seconds(365 * 86_400)),
                unavailable: runsAnyway ? .runLocally : .fail
            ),
            codec: RecordingCodec(),
            live: .init(maximumBytes: CommandRecording.liveLimit)
        )
    }

    /// What the command finds in its environment, but for the fence, under the lease of `token` for `flightKey`.
    func environment(for flightKey: FlightKey, _ token: LeaseToken?) -> EnvironmentBlock {
        var environment = EnvironmentBlock(InheritedState.current.environment)
        environment["SINGLEFLIGHT_KEY"] = key
        environment.set("SINGLEFLIGHT_GROUP", to: group)
        environment.set("SINGLEFLIGHT_NAMESPACE", to: store.namespace)
        environment["SINGLEFLIGHT_FENCE"] = nil
        if let token {
            environment.set(EnclosingRuns.variable, to: EnclosingRuns.current.value(inside: flightKey, token: token))
            // A trace that began before goes on; else the run's own has the name that `leases` shows.
            if environment["TRACEPARENT"] == nil {
                environment.set("TRACEPARENT", to: "00-\(token)-\(token.description.prefix(16))-01")
            }
        }
        if !passesPassword, let url = environment["SINGLEFLIGHT_URL"] {
            environment.set("SINGLEFLIGHT_URL", to: URLPassword.removed(from: ByteText.text(url)))
        }
        return environment
    }
}

/// The key of a run: bytes, as the command line has them.
struct RunKey: FlightKeyConvertible {
    let bytes: [UInt8]

    var flightKeyBytes: [UInt8] { bytes }
}

/// What a lease says of who runs what.
enum RunLabel {
    /// user@host.
    static var user: String { "\(NSUserName())@\(ProcessInfo.processInfo.hostName)" }

    /// `user@host:pid command`, without the command's arguments unless they are asked for.
    static func label(_ words: [[UInt8]], withArguments: Bool) -> String {
        let shown = withArguments ? words : [CommandIdentity(words).name]
        let command = shown.map { SafeText.escape(ByteText.text($0)) }.joined(separator: " ")
        var label = "\(NSUserName())@\(RedisLeaseStoreConfiguration.defaultLabel) \(command)"
        while label.utf8.count > 200 { label.removeLast() }
        return label
    }
}

/// A stretch of the server's time in which a command runs once: clocks of hosts may differ, this one is the same for
/// all.
struct RunSlot: Sendable {
    /// When it began, in UTC: `2026-11-28`, `2026-11-28T13:00Z`.
    let name: String
    /// Until it ends.
    let remaining: Duration

    /// - Parameter time: the server's, since 1970.
    init(length: Duration, at time: Duration) {
        let (length, now) = (length.wholeMilliseconds, time.wholeMilliseconds)
        let start = now - now % length
        remaining = .milliseconds(start + length - now)
        let text = Date(timeIntervalSince1970: Double(start) / 1000).formatted(.iso8601)
        // 2026-11-28T13:00:00Z
        if length == 86_400_000 {
            name = String(text.prefix(10))
        } else {
            name = length.isMultiple(of: 60_000) ? text.prefix(16) + "Z" : text
        }
    }
}
