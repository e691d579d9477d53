// Avahi's client library, loaded while the program runs. The few declarations that are needed
// follow its documented API (avahi-client 0.8; the ABI is that of libavahi-client.so.3).
#include "net/mdns.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "base/library.h"
#include "net/network.h"

namespace sollol::net {

namespace {

using Client = struct AvahiClient;
using Group = struct AvahiEntryGroup;
using Browser = struct AvahiServiceBrowser;
using Resolver = struct AvahiServiceResolver;
using Poll = struct AvahiPoll;
using SimplePoll = struct AvahiSimplePoll;
using IpAddress = struct AvahiAddress;
using Strings = struct AvahiStringList;

constexpr int any = -1;                 // AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC
constexpr int ipv4 = 0;                 // AVAHI_PROTO_INET
constexpr int no_fail = 2;              // AVAHI_CLIENT_NO_FAIL: wait for the daemon
constexpr int client_running = 2;       // AVAHI_CLIENT_S_RUNNING
constexpr int client_failure = 100;     // AVAHI_CLIENT_FAILURE
constexpr int client_connecting = 101;  // AVAHI_CLIENT_CONNECTING
constexpr int group_collision = 3;      // AVAHI_ENTRY_GROUP_COLLISION
constexpr int browser_new = 0;          // AVAHI_BROWSER_NEW
constexpr int browser_remove = 1;
constexpr int browser_all_for_now = 3;
constexpr int browser_failure = 4;
constexpr int resolver_found = 0;   // AVAHI_RESOLVER_FOUND
constexpr int result_our_own = 16;  // AVAHI_LOOKUP_RESULT_OUR_OWN

constexpr auto poll_ms = 250;
constexpr auto again_after = std::chrono::seconds(10);
constexpr auto end_within = std::chrono::seconds(1);
constexpr unsigned renames_max = 16;

using ClientCallback = void (*)(Client*, int state, void*);
using GroupCallback = void (*)(Group*, int state, void*);
using BrowserCallback = void (*)(Browser*, int interface, int protocol, int event, const char* name,
                                 const char* type, const char* domain, int flags, void*);
using ResolverCallback = void (*)(Resolver*, int interface, int protocol, int event,
                                  const char* name, const char* type, const char* domain,
                                  const char* host, const IpAddress*, std::uint16_t port, Strings*,
                                  int flags, void*);

struct Functions {
  SimplePoll* (*poll_new)();
  void (*poll_free)(SimplePoll*);
  const Poll* (*poll_get)(SimplePoll*);
  int (*poll_iterate)(SimplePoll*, int wait_ms);
  void (*poll_wakeup)(SimplePoll*);
  Client* (*client_new)(const Poll*, int flags, ClientCallback, void*, int* error);
  void (*client_free)(Client*);
  const char* (*host_name)(Client*);
  int (*last_error)(Client*);
  const char* (*text_of_error)(int);
  Group* (*group_new)(Client*, GroupCallback, void*);
  int (*group_add)(Group*, int interface, int protocol, int flags, const char* name,
                   const char* type, const char* domain, const char* host, std::uint16_t port,
                   Strings*);
  int (*group_commit)(Group*);
  int (*group_reset)(Group*);
  Browser* (*browser_new)(Client*, int interface, int protocol, const char* type,
                          const char* domain, int flags, BrowserCallback, void*);
  Resolver* (*resolver_new)(Client*, int interface, int protocol, const char* name,
                            const char* type, const char* domain, int address_protocol, int flags,
                            ResolverCallback, void*);
  int (*resolver_free)(Resolver*);
  char* (*address_text)(char*, std::size_t, const IpAddress*);
  Strings* (*strings_add)(Strings*, const char*);
  void (*strings_free)(Strings*);
  Strings* (*strings_next)(Strings*);
  std::uint8_t* (*strings_text)(Strings*);
  std::size_t (*strings_size)(Strings*);
};

/// libavahi-common's symbols are found through libavahi-client, which needs it.
bool find_functions(const Library& library, Functions& out) {
  return library.find("avahi_simple_poll_new", out.poll_new) &&
         library.find("avahi_simple_poll_free", out.poll_free) &&
         library.find("avahi_simple_poll_get", out.poll_get) &&
         library.find("avahi_simple_poll_iterate", out.poll_iterate) &&
         library.find("avahi_simple_poll_wakeup", out.poll_wakeup) &&
         library.find("avahi_client_new", out.client_new) &&
         library.find("avahi_client_free", out.client_free) &&
         library.find("avahi_client_get_host_name", out.host_name) &&
         library.find("avahi_client_errno", out.last_error) &&
         library.find("avahi_strerror", out.text_of_error) &&
         library.find("avahi_entry_group_new", out.group_new) &&
         library.find("avahi_entry_group_add_service_strlst", out.group_add) &&
         library.find("avahi_entry_group_commit", out.group_commit) &&
         library.find("avahi_entry_group_reset", out.group_reset) &&
         library.find("avahi_service_browser_new", out.browser_new) &&
         library.find("avahi_service_resolver_new", out.resolver_new) &&
         library.find("avahi_service_resolver_free", out.resolver_free) &&
         library.find("avahi_address_snprint", out.address_text) &&
         library.find("avahi_string_list_add", out.strings_add) &&
         library.find("avahi_string_list_free", out.strings_free) &&
         library.find("avahi_string_list_get_next", out.strings_next) &&
         library.find("avahi_string_list_get_text", out.strings_text) &&
         library.find("avahi_string_list_get_size", out.strings_size);
}

bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= ' ' && c != 0x7f; });
}

}  // namespace

/// What the thread and the object share. The thread holds it: where D-Bus keeps a call waiting,
/// the object goes first.
struct Mdns::State : std::enable_shared_from_this<State> {
  explicit State(MdnsOptions o) : options(std::move(o)) {}

  // Of the thread alone.
  const MdnsOptions options;
  Functions avahi{};
  SimplePoll* poll = nullptr;
  Client* client = nullptr;
  Group* group = nullptr;
  std::set<Resolver*> resolvers;
  Announcement registered;  // as the group has it
  bool failed = false;      // the client has to be made again
  unsigned renames = 0;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  Announcement wanted;
  std::map<std::string, Announced> heard;  // by interface and name
  bool expecting = true;
  bool stop = false;
  bool ended = false;
  std::string trouble;
  SimplePoll* wakeable = nullptr;

  void run();
  void run_client();
  void register_wanted();
  void hear(const std::string& key, Announced one);
  void say(std::string problem);
  bool stopping() const {
    const std::scoped_lock lock(mutex);
    return stop;
  }
  void on_client(Client* self, int state);
  void on_group(int state);
  void on_service(int interface, int protocol, int event, const char* name, const char* type,
                  const char* domain, int flags);
  void on_resolved(Resolver* resolver, int interface, int event, const char* name,
                   const IpAddress* address, std::uint16_t port, Strings* texts);
};

namespace {

std::string key_of(int interface, const char* name) {
  return fmt::format("{} {}", interface, name);
}

Mdns::State& state_of(void* user) { return *static_cast<Mdns::State*>(user); }

}  // namespace

void Mdns::State::say(std::string problem) {
  const std::scoped_lock lock(mutex);
  trouble = std::move(problem);
  expecting = false;
}

void Mdns::State::run() {
  const Library library(options.libraries);
  if (!library.loaded()) {
    say("no multicast DNS: " + library.problem());
  } else if (!find_functions(library, avahi)) {
    say("no multicast DNS: Avahi's library lacks functions");
  } else {
    while (!stopping()) {
      run_client();
      std::unique_lock lock(mutex);
      heard.clear();
      expecting = false;
      changed.wait_for(lock, again_after, [this] { return stop; });
    }
  }
  const std::scoped_lock lock(mutex);
  ended = true;
  changed.notify_all();
}

/// One connection to D-Bus, from its making to its end.
void Mdns::State::run_client() {
  poll = avahi.poll_new();
  failed = false;
  group = nullptr;
  registered = {};
  int error = 0;
  client = avahi.client_new(
      avahi.poll_get(poll), no_fail,
      [](Client* self, int state, void* user) { state_of(user).on_client(self, state); }, this,
      &error);
  if (client == nullptr) {
    say(fmt::format("no multicast DNS: {}", avahi.text_of_error(error)));
  } else {
    {
      const std::scoped_lock lock(mutex);
      wakeable = poll;
    }
    while (!failed && !stopping()) {
      register_wanted();
      if (avahi.poll_iterate(poll, poll_ms) != 0) break;
    }
    const std::scoped_lock lock(mutex);
    wakeable = nullptr;
  }
  if (client != nullptr) avahi.client_free(client);  // with all that belongs to it
  client = nullptr;
  resolvers.clear();
  avahi.poll_free(poll);
}

void Mdns::State::on_client(Client* self, int state) {
  client = self;  // it may call before it is handed out
  if (state == client_running) {
    const std::scoped_lock lock(mutex);
    trouble.clear();
  } else if (state == client_connecting) {
    say("no multicast DNS: avahi-daemon does not run");
  } else if (state == client_failure) {
    say(fmt::format("no multicast DNS: {}", avahi.text_of_error(avahi.last_error(self))));
    failed = true;
  }
  if (state != client_running || !options.browse || failed) return;
  const auto* browser = avahi.browser_new(
      self, any, ipv4, mdns_service.data(), nullptr, 0,
      [](Browser*, int interface, int protocol, int event, const char* name, const char* type,
         const char* domain, int flags, void* user) {
        state_of(user).on_service(interface, protocol, event, name, type, domain, flags);
      },
      this);
  if (browser == nullptr) say("multicast DNS: Avahi takes no question");
}

/// Has Avahi announce what is wanted, where that is not what it announces.
void Mdns::State::register_wanted() {
  Announcement now;
  {
    const std::scoped_lock lock(mutex);
    now = wanted;
  }
  const char* host = client == nullptr || now.port == 0 ? nullptr : avahi.host_name(client);
  if (host == nullptr || now == registered) return;
  if (group == nullptr)
    group = avahi.group_new(
        client, [](Group*, int state, void* user) { state_of(user).on_group(state); }, this);
  if (group == nullptr) return;
  avahi.group_reset(group);
  Strings* texts = avahi.strings_add(nullptr, ("role=" + now.role).c_str());
  for (const auto& [key, value] : now.texts)
    texts = avahi.strings_add(texts, fmt::format("{}={}", key, value).c_str());
  std::string name = fmt::format("sollol {} on {}, port {}", now.role, host, now.port);
  if (renames > 0) name += fmt::format(" #{}", renames + 1);
  const int added = avahi.group_add(group, any, any, 0, name.c_str(), mdns_service.data(), nullptr,
                                    nullptr, now.port, texts);
  avahi.strings_free(texts);
  const int done = added < 0 ? added : avahi.group_commit(group);
  if (done < 0) say(fmt::format("not announced: {}", avahi.text_of_error(done)));
  registered = std::move(now);
}

void Mdns::State::on_group(int state) {
  // Somebody has this name already.
  if (state == group_collision && ++renames < renames_max) registered = {};
}

void Mdns::State::on_service(int interface, int protocol, int event, const char* name,
                             const char* type, const char* domain, int flags) {
  if (event == browser_failure) failed = true;
  if (event == browser_all_for_now) {
    const std::scoped_lock lock(mutex);
    expecting = false;
  }
  if (event == browser_remove) {
    const std::scoped_lock lock(mutex);
    heard.erase(key_of(interface, name));
  }
  const bool own = (flags & result_our_own) != 0;
  if (event != browser_new || own || resolvers.size() >= options.announced_max) return;
  Resolver* resolver = avahi.resolver_new(
      client, interface, protocol, name, type, domain, ipv4, 0,
      [](Resolver* self, int from, int, int what, const char* called, const char*, const char*,
         const char*, const IpAddress* address, std::uint16_t port, Strings* texts, int,
         void* user) {
        state_of(user).on_resolved(self, from, what, called, address, port, texts);
      },
      this);
  if (resolver != nullptr) resolvers.insert(resolver);
}

void Mdns::State::on_resolved(Resolver* resolver, int interface, int event, const char* name,
                              const IpAddress* address, std::uint16_t port, Strings* texts) {
  if (event == resolver_found && address != nullptr) {
    std::array<char, 64> ip{};
    avahi.address_text(ip.data(), ip.size(), address);
    Announced one{.name = name, .role = {}, .address = {ip.data(), port}, .texts = {}};
    std::size_t left = options.texts_max;
    for (Strings* at = texts; at != nullptr && left > 0; at = avahi.strings_next(at), --left) {
      const std::string text(reinterpret_cast<const char*>(avahi.strings_text(at)),
                             std::min(avahi.strings_size(at), options.text_bytes_max));
      const std::size_t equals = text.find('=');
      if (equals == std::string::npos || !is_plain(text)) continue;
      if (text.starts_with("role="))
        one.role = text.substr(equals + 1);
      else
        one.texts[text.substr(0, equals)] = text.substr(equals + 1);
    }
    if (is_ip(one.address.ip) && is_plain(one.name)) hear(key_of(interface, name), std::move(one));
  }
  resolvers.erase(resolver);
  avahi.resolver_free(resolver);
}

void Mdns::State::hear(const std::string& key, Announced one) {
  const std::scoped_lock lock(mutex);
  if (heard.size() < options.announced_max || heard.contains(key)) heard[key] = std::move(one);
}

Mdns::Mdns(MdnsOptions options) : state_(std::make_shared<State>(std::move(options))) {
  std::thread([state = state_] { state->run(); }).detach();
}

Mdns::~Mdns() {
  std::unique_lock lock(state_->mutex);
  state_->stop = true;
  state_->changed.notify_all();
  if (state_->wakeable != nullptr) state_->avahi.poll_wakeup(state_->wakeable);
  state_->changed.wait_for(lock, end_within, [this] { return state_->ended; });
}

void Mdns::announce(Announcement announcement) {
  const std::scoped_lock lock(state_->mutex);
  state_->wanted = std::move(announcement);
  if (state_->wakeable != nullptr) state_->avahi.poll_wakeup(state_->wakeable);
}

std::vector<Announced> Mdns::announced() const {
  const std::scoped_lock lock(state_->mutex);
  std::vector<Announced> all;
  for (const auto& [key, one] : state_->heard) all.push_back(one);
  return all;
}

bool Mdns::listening() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->expecting;
}

std::string Mdns::problem() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->trouble;
}

}  // namespace sollol::net
