#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace sollol::net {

/// What the life of a listening socket needs beside accepting. All take a descriptor, block never
/// and are for Linux.

/// Error: refused, when somebody listens on the address already, sharing it or not: listeners with
/// SO_REUSEPORT would silently take turns with him. Port 0 is always free.
Result<void> check_unused(const Address& at);

/// From now on no connection can begin at this listener, while those whose handshake has begun are
/// completed and can be accepted: so that accepting until none waits and closing then loses none.
/// Also for every other process that holds the same socket: only for one that is ours alone. A
/// client that tries meanwhile is left to try again.
void refuse_new_connections(int descriptor);

/// Undoes that, if another process did it before it passed the socket on.
void accept_new_connections(int descriptor);

/// Whether a completed connection waits to be accepted.
bool connection_waits(int descriptor);

/// Another descriptor of the same socket, or -1.
int duplicate(int descriptor);

/// Where it listens; an empty ip when the descriptor is no listening TCP socket.
Address listening_address(int descriptor);

/// How many descriptors this process may have open.
std::size_t descriptors_max() noexcept;
/// Raises it as far as the system lets this process: the soft limit of most is 1,024, and every
/// stream takes two.
void raise_descriptor_limit() noexcept;

}  // namespace sollol::net
