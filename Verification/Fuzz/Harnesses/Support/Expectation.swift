#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Ends the process if `condition` does not hold; the fuzzer then keeps the input. Also in release builds, unlike
/// `assert`, and with its message, unlike `precondition`.
package func expect(_ condition: Bool, _ message: @autoclosure () -> String) {
    guard !condition else { return }
    let text = "\nproperty broken: \(message())\n"
    _ = write(STDERR_FILENO, text, text.utf8.count)
    abort()
}

/// Ends the process if the two differ.
package func expectEqual<T: Equatable>(_ left: T, _ right: T, _ message: @autoclosure () -> String) {
    expect(left == right, "\(message())\n  \(left)\n  \(right)")
}
