#include "registry.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

namespace sollol::python {

using namespace nb::literals;

namespace {

/// Without the GIL; what fails is raised.
template <class Work>
auto run(const Registry& registry, Work work) {
  const auto result =
      blocking([nodes = registry.nodes, work = std::move(work)] { return work(*nodes); });
  if (!result) raise(result.error(), Blame::input);
  return *result;
}

DiscoverOptions discover_options(double timeout, const std::vector<std::uint16_t>& ports,
                                 const std::vector<std::string>& subnets, bool exclude_localhost,
                                 bool auto_resolve_docker, bool discover_all_nodes) {
  return {.timeout_s = timeout,
          .ports = ports,
          .subnets = subnets,
          .exclude_localhost = exclude_localhost,
          .auto_resolve_docker = auto_resolve_docker,
          .discover_all_nodes = discover_all_nodes};
}

void bind_reports(nb::module_& module) {
  nb::class_<NodeModel>(module, "NodeModel")
      .def_ro("name", &NodeModel::name)
      .def_ro("digest", &NodeModel::digest)
      .def_ro("bytes", &NodeModel::bytes);
  nb::class_<NodeReport>(module, "NodeReport")
      .def_ro("url", &NodeReport::url)
      .def_ro("name", &NodeReport::name)
      .def_ro("priority", &NodeReport::priority)
      .def_ro("slots", &NodeReport::slots)
      .def_ro("origin", &NodeReport::origin)
      .def_ro("healthy", &NodeReport::healthy)
      .def_ro("version", &NodeReport::version)
      .def_ro("models", &NodeReport::models)
      .def_ro("loaded_bytes", &NodeReport::loaded_bytes)
      .def_ro("vram_bytes", &NodeReport::vram_bytes)
      .def_ro("gpu", &NodeReport::gpu)
      .def_ro("round_trip_s", &NodeReport::round_trip_s)
      .def_ro("failed_checks", &NodeReport::failed_checks)
      .def_ro("checked_round_trips_s", &NodeReport::checked_round_trips_s);
}

}  // namespace

void bind_registry(nb::module_& module) {
  bind_reports(module);
  nb::class_<Registry>(module, "Registry")
      .def("__init__",
           [](Registry* made) {
             auto nodes = blocking([] { return std::make_shared<NodeRegistry>(); });
             new (made) Registry{std::move(nodes)};
           })
      .def(
          "add",
          [](const Registry& self, std::string url, std::string name, unsigned priority,
             std::string host, std::string device, unsigned slots, bool auto_probe) {
            const NewNode node{.url = std::move(url),
                               .name = std::move(name),
                               .priority = priority,
                               .host = std::move(host),
                               .device = std::move(device),
                               .slots = slots,
                               .auto_probe = auto_probe};
            return run(self, [node](NodeRegistry& nodes) { return nodes.add(node); });
          },
          "url"_a, "name"_a = "", "priority"_a = 0, "host"_a = "", "device"_a = "", "slots"_a = 0,
          "auto_probe"_a = true)
      .def(
          "remove",
          [](const Registry& self, const std::string& name_or_url) {
            return blocking(
                [nodes = self.nodes, name_or_url] { return nodes->remove(name_or_url); });
          },
          "name_or_url"_a)
      .def("all",
           [](const Registry& self) {
             const OthersRun others_run;
             return self.nodes->list();
           })
      .def(
          "check",
          [](const Registry& self, double timeout, double connect_timeout, bool remove,
             unsigned failures_max) {
            const CheckOptions how{timeout, connect_timeout, remove, failures_max};
            return blocking([nodes = self.nodes, how] { return nodes->check(how); });
          },
          "timeout"_a, "connect_timeout"_a, "remove"_a, "failures_max"_a)
      .def(
          "discover",
          [](const Registry& self, double timeout, const std::vector<std::uint16_t>& ports,
             const std::vector<std::string>& subnets, bool exclude_localhost,
             bool auto_resolve_docker, bool discover_all_nodes) {
            const DiscoverOptions how = discover_options(timeout, ports, subnets, exclude_localhost,
                                                         auto_resolve_docker, discover_all_nodes);
            return run(self, [how](NodeRegistry& nodes) { return nodes.discover(how); });
          },
          "timeout"_a, "ports"_a, "subnets"_a, "exclude_localhost"_a, "auto_resolve_docker"_a,
          "discover_all_nodes"_a)
      .def(
          "load",
          [](const Registry& self, const std::string& path) {
            return run(self, [path](NodeRegistry& nodes) { return nodes.load(path); });
          },
          "path"_a)
      .def(
          "save",
          [](const Registry& self, const std::string& path) {
            return run(self, [path](NodeRegistry& nodes) { return nodes.save(path); });
          },
          "path"_a)
      .def("count_unique_physical_hosts",
           [](const Registry& self) {
             return blocking([nodes = self.nodes] { return nodes->count_unique_physical_hosts(); });
           })
      .def(
          "advise",
          [](const Registry& self, std::size_t num_tasks) {
            const ParallelAdvice advice =
                blocking([nodes = self.nodes, num_tasks] { return nodes->advise(num_tasks); });
            return std::tuple(advice.parallel, advice.width, advice.reason);
          },
          "num_tasks"_a)
      .def("explain",
           [](const Registry& self) {
             return blocking([nodes = self.nodes] { return nodes->explain(); });
           })
      .def("close",
           [](Registry& self) {
             const OthersRun others_run;
             self.nodes.reset();
           })
      .def(
          "abandon",
          // Its threads are those of the process that this one was forked from.
          [](Registry& self) { new std::shared_ptr<NodeRegistry>(std::move(self.nodes)); },
          "In a forked child: leaves everything as it is.");
}

}  // namespace sollol::python
