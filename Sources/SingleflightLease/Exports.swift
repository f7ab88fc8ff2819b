// Outcomes, completions and cancellations are the local group's.
@_exported public import Singleflight
