// Segmentations that wait, run and are over: one at a time, on a thread of its own, each stopped when asked. What a job makes
// lies in jobs/ID of the store, a folder that appears whole.
#pragma once
#include <condition_variable>
#include <ctseg/report/run.hpp>
#include <stop_token>
#include <thread>

#include "../ctseg/device.hpp"
#include "models.hpp"

namespace viewer {

struct JobOptions {
  Index scan = 0, model = 0;   // model 0: the default
  std::optional<double> overlap{};
  std::optional<cs::Accuracy> accuracy{};
};

class Jobs {
 public:
  struct Parts {
    Store& store;
    Scans& scans;
    Masks& masks;
    Models& models;
    cli::Device& device;   // the worker's alone
  };
  explicit Jobs(const Parts& parts);
  Jobs(const Jobs&) = delete;
  ~Jobs();

  /// Errors    Refusal: too many wait, no such scan or model.
  Json add(const JobOptions& options);
  Json describe(Index id);
  Json list();
  void cancel(Index id);
  /// Those of a scan that was deleted.
  void stop_of(Index scan);

 private:
  static constexpr std::size_t kMostWaiting = 16;
  struct Job {
    JobRow row;
    JobOptions options;
    ModelEntry model;
    std::stop_source stop;
    std::atomic<double> progress = 0;
    std::chrono::steady_clock::time_point begin{};
  };

  void work(const std::stop_token& stop);
  void run(Job& job);
  struct Made {
    const OpenScan& scan;
    const cs::Volume<float>& volume;   // as it is stored
    const cs::Segmentation& result;
    cs::RunRecord& record;
    cs::RunClock& clock;
  };
  MaskRow write(Job& job, const Made& made);
  void finish(Job& job, const std::string& state, const std::string& error);
  Json shown(const JobRow& stored) const;

  Parts parts_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::shared_ptr<Job> running_;
  std::unique_ptr<cs::LoadedModel> loaded_;   // the last one, for the next job
  std::string loaded_sha256_;
  std::jthread worker_;   // the last member: it uses all others
};

}   // namespace viewer
