/// What an operation for many keys comes to for a key that it returned nothing for.
struct MissingResult: Error {
    let key: String

    /// What callers are told, in the leader's process and in all others.
    var told: DistributedGroupError {
        DistributedGroupError(.noResult, "the operation returned nothing for the key '\(self.key.prefix(200))'")
    }
}
