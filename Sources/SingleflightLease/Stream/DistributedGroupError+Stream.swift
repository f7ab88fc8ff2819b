extension DistributedGroupError {
    static func streamTooLong(_ maximum: Int) -> DistributedGroupError {
        DistributedGroupError(.streamTooLong, "the stream's parts have more than \(maximum) bytes in all")
    }

    static func partTooLong(_ count: Int, _ maximum: Int) -> DistributedGroupError {
        DistributedGroupError(.resultTooLarge, "an encoded part has \(count) bytes, the group allows \(maximum)")
    }

    static func streamLost(stored: Int, of known: Int) -> DistributedGroupError {
        DistributedGroupError(.streamLost, "of \(known) pieces of the stream \(stored) are left")
    }

    static var streamRestarted: DistributedGroupError {
        DistributedGroupError(.streamRestarted, "the leader was lost, and the stream begins anew")
    }

    static var streamEnded: DistributedGroupError {
        DistributedGroupError(.streamMisused, "the stream was written to after its end")
    }

    static var streamReadTwice: DistributedGroupError {
        DistributedGroupError(.streamMisused, "two tasks read one stream")
    }

    /// What it is to a stream that the store could not be asked.
    init(streaming error: LeaseStoreError) {
        let code: Code =
            switch error.code {
            case .full: .storeFull
            case .refused: .refused
            default: .unavailable
            }
        self.init(code, "the stream's parts could not be passed on: \(error)", underlying: error)
    }
}
