/// What an operation for many keys comes to for a key that it returned nothing for.
struct MissingResult: GroupFailure {
    let key: String

    var told: DistributedGroupError {
        DistributedGroupError(.noResult, "the operation returned nothing for the key '\(self.key.prefix(200))'")
    }
}
