/// What happens to a flight, as its ``FlightMachine`` hears of it.
package enum FlightEvent: Sendable {
    /// The flight begins. Comes once, first.
    case start
    /// The store answered a request.
    case replied(Result<LeaseReply, LeaseStoreError>, to: FlightRequest)
    /// The process's inbox has news.
    case heard(InboxEvent)
    /// The time that the machine asked for has come.
    case timer
    /// The operation ended, and this is what the others get.
    case operationEnded(StoredOutcome)
    /// The operation said how far it is.
    case progressed
    /// The caller that leads by hand goes away without a result; with a reason, it ends the flight for everybody.
    case leaderLeft(reason: String?)
    /// There is an operation now that can run if the leader is lost.
    case offered
    /// The last local caller left.
    case abandoned
}
