// Requests to answers: which may come at all, how long their bodies may be, and what each does. docs/viewer_api.md is this file
// for people.
#pragma once
#include "jobs.hpp"

namespace viewer {

struct SiteFacts {
  std::string token{};
  int threads = 1;
  Index max_upload = Index{2} << 30;
  Index scan = 0;   // of the command line; 0: none
  std::string device = "cpu";
};

class Routes {
 public:
  struct Parts {
    Store& store;
    Scans& scans;
    Masks& masks;
    Models& models;
    Jobs& jobs;
  };
  Routes(const Parts& parts, SiteFacts facts) : parts_(parts), facts_(std::move(facts)) {}
  /// Known only once there is a server; until then everything is refused.
  void serve_at(int port) { port_ = port; }

  Intake intake(const Request& request);
  Response answer(Request& request);

 private:
  /// What a body is, and so how long it may be.
  enum class Body { none, json, scan, model, array, slices };
  struct Route {
    const char *method, *pattern;   // "#" in a pattern is a whole number
    Body body;
    Response (Routes::*handle)(Request&, Index id);
  };
  static std::span<const Route> table();
  std::pair<const Route*, Index> find(const Request& request) const;
  void check_sender(const Request& request) const;
  Index body_limit(const Request& request, const Route& route, Index id);

  Response info(Request&, Index);
  Response list_scans(Request&, Index);
  Response add_scan(Request&, Index);
  Response get_scan(Request&, Index id);
  Response delete_scan(Request&, Index id);
  Response get_voxels(Request&, Index id);
  Response get_slice(Request&, Index id);
  Response save_mask(Request&, Index id);
  Response measure(Request&, Index id);
  Response interpolate_slices(Request&, Index id);
  Response get_mask(Request&, Index id);
  Response get_mask_voxels(Request&, Index id);
  Response get_mesh(Request&, Index id);
  Response get_file(Request&, Index id);
  Response get_overlay(Request&, Index id);
  Response list_models(Request&, Index);
  Response add_model(Request&, Index);
  Response list_jobs(Request&, Index);
  Response add_job(Request&, Index);
  Response get_job(Request&, Index id);
  Response cancel_job(Request&, Index id);
  Response history(Request&, Index);

  Json scan_with_masks(const ScanRow& row);
  std::vector<std::uint8_t> array_of(Request& request, Index size);
  Index parent_of(const Request& request, Index scan);
  std::pair<PlaneView, std::vector<Index>> keys_of(const Request& request, const OpenScan& scan);

  static constexpr int kMostArrays = 4;   // bodies in memory at once
  Parts parts_;
  SiteFacts facts_;
  std::atomic<int> port_ = 0;
  std::shared_ptr<std::atomic<int>> arrays_ = std::make_shared<std::atomic<int>>(0);
};

}   // namespace viewer
