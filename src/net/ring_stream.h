#pragma once

#include <memory>

#include "net/ring.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace sollol::net {

/// A connected socket in blocking mode (the ring does the waiting) as a Stream; owns the
/// descriptor.
///
/// What is written goes out at the end of the ring's round. While a write is under way up to
/// `unsent_max` more bytes are taken; then the peer's window is full. What is received while nobody
/// reads is kept up to `unread_max`; then the peer is not read from any further.
std::unique_ptr<Stream> make_ring_stream(int descriptor, Scheduler& scheduler, Ring& ring);

inline constexpr std::size_t unsent_max = 64 * 1024;
inline constexpr std::size_t unread_max = 64 * 1024;
/// How long a closed stream goes on sending what it had taken.
inline constexpr Duration closing_max = std::chrono::seconds(60);

}  // namespace sollol::net
