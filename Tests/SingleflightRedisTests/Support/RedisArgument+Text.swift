import HiredisClient

extension RedisArgument {
    /// What is written of a name.
    var text: String? {
        guard case .joined(let first, let second, let third) = self else { return nil }
        return first + "\(second)" + third
    }
}
