#pragma once

#include <cstddef>
#include <cstdint>

/// What is used of Avahi's C libraries (libavahi-client.so.3, libavahi-common.so.3), declared here:
/// they are loaded at run time and need not be there to build. C enums are passed as ints.
namespace sollol::net::avahi {

struct SimplePoll;
struct Poll;
struct Client;
struct EntryGroup;
struct ServiceBrowser;
struct ServiceResolver;
struct StringList;
struct Address;

inline constexpr int any_interface = -1;
inline constexpr int any_protocol = -1;
inline constexpr int ok = 0;
inline constexpr int name_is_taken = -8;
inline constexpr int address_text_max = 40;

enum ClientFlags : int { wait_for_daemon = 2 };
enum ClientState : int {
  client_registering = 1,
  client_running = 2,
  client_collision = 3,
  client_failure = 100,
  client_connecting = 101,
};
enum GroupState : int { group_established = 2, group_collision = 3 };
enum BrowserEvent : int { browser_new, browser_remove, browser_all_for_now = 3, browser_failure };
enum ResolverEvent : int { resolver_found };
enum ResultFlags : int { result_of_this_machine = 8, result_of_this_client = 16 };

using OnClient = void(Client*, int state, void* self);
using OnGroup = void(EntryGroup*, int state, void* self);
using OnBrowse = void(ServiceBrowser*, int interface, int protocol, int event, const char* name,
                      const char* type, const char* domain, int flags, void* self);
using OnResolve = void(ServiceResolver*, int interface, int protocol, int event, const char* name,
                       const char* type, const char* domain, const char* host,
                       const Address* address, std::uint16_t port, StringList* texts, int flags,
                       void* self);

using SimplePollNew = SimplePoll*();
using SimplePollFree = void(SimplePoll*);
using SimplePollGet = const Poll*(SimplePoll*);
using SimplePollIterate = int(SimplePoll*, int milliseconds);
using SimplePollWakeup = void(SimplePoll*);
using AddressSnprint = char*(char* text, std::size_t size, const Address*);
using StringListAdd = StringList*(StringList*, const char* text);
using StringListFree = void(StringList*);
using ClientNew = Client*(const Poll*, int flags, OnClient*, void* self, int* error);
using ClientFree = void(Client*);
using ServiceBrowserNew = ServiceBrowser*(Client*, int interface, int protocol, const char* type,
                                          const char* domain, int flags, OnBrowse*, void* self);
using ServiceResolverNew = ServiceResolver*(Client*, int interface, int protocol, const char* name,
                                            const char* type, const char* domain, int wanted,
                                            int flags, OnResolve*, void* self);
using ServiceResolverFree = int(ServiceResolver*);
using EntryGroupNew = EntryGroup*(Client*, OnGroup*, void* self);
using EntryGroupReset = int(EntryGroup*);
using EntryGroupAddService = int(EntryGroup*, int interface, int protocol, int flags,
                                 const char* name, const char* type, const char* domain,
                                 const char* host, std::uint16_t port, StringList* texts);
using EntryGroupCommit = int(EntryGroup*);

}  // namespace sollol::net::avahi
