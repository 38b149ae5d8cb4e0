#include "jobs.hpp"

#include <ctseg/io/preview.hpp>
#include <ctseg/io/volume.hpp>
#include <ctseg/report/sha256.hpp>

#include "../ctseg/models.hpp"

namespace viewer {

Jobs::Jobs(const Parts& parts) : parts_(parts), worker_([this](const std::stop_token& stop) { work(stop); }) {}
Jobs::~Jobs() {
  worker_.request_stop();
  const std::lock_guard lock(mutex_);
  if (running_) running_->stop.request_stop();
}

/// A job as the interface has it. What waits for nobody and runs nowhere is over, whatever the store was last told.
Json Jobs::shown(const JobRow& stored) const {
  const Job* job = running_ && running_->row.id == stored.id ? running_.get() : nullptr;
  JobRow row = job ? job->row : stored;
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& w) { return w->row.id == row.id; });
  if (!job && !waits && (row.state == "queued" || row.state == "running"))
    row.state = "failed", row.facts["error"] = "how it ended could not be written to the store: its disk was full.";
  Json out = {{"id", row.id},
              {"scan", row.scan},
              {"state", row.state},
              {"added", row.added},
              {"progress", row.state == "done" ? 1.0 : 0.0}};
  out.update(row.facts);
  if (!job || row.state != "running") return out;
  out["progress"] = job->progress.load();
  out["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - job->begin).count();
  return out;
}

Json Jobs::add(const JobOptions& options) {
  if (!parts_.store.scan(options.scan)) throw Refusal{404, text("there is no scan ", options.scan, ".")};
  auto job = std::make_shared<Job>();
  job->options = options, job->model = parts_.models.find(options.model);
  job->row = {.scan = options.scan,
              .state = "queued",
              .added = now(),
              .facts = {{"model", job->model.name},
                        {"seconds", 0.0},
                        {"stages", Json::object()},
                        {"error", nullptr},
                        {"mask", nullptr},
                        {"folder", nullptr},
                        {"files", Json::array()}}};
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= kMostWaiting) throw Refusal{429, text(kMostWaiting, " jobs wait already. Hint: stop one.")};
  job->row.id = parts_.store.add(job->row);
  waiting_.push_back(job);
  changed_.notify_all();
  return shown(job->row);
}

Json Jobs::describe(Index id) {
  const std::lock_guard lock(mutex_);
  const auto row = parts_.store.job(id);
  if (!row) throw Refusal{404, text("there is no job ", id, ".")};
  return shown(*row);
}
Json Jobs::list() {
  const std::lock_guard lock(mutex_);
  Json out = Json::array();
  for (const JobRow& row : parts_.store.jobs()) out.push_back(shown(row));
  return out;
}
void Jobs::cancel(Index id) {
  const std::lock_guard lock(mutex_);
  if (running_ && running_->row.id == id && running_->row.state == "running") return void(running_->stop.request_stop());
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it)
    if ((*it)->row.id == id) {
      (*it)->row.state = "cancelled";
      parts_.store.update((*it)->row);
      waiting_.erase(it);
      return;
    }
  if (!parts_.store.job(id)) throw Refusal{404, text("there is no job ", id, ".")};
  throw Refusal{409, text("job ", id, " is over.")};
}

void Jobs::stop_of(Index scan) {
  const std::lock_guard lock(mutex_);
  if (running_ && running_->row.scan == scan) running_->stop.request_stop();
  std::erase_if(waiting_, [&](const auto& job) { return job->row.scan == scan; });
}

void Jobs::work(const std::stop_token& stop) {
  while (true) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return !waiting_.empty(); }) || stop.stop_requested()) return;
    running_ = waiting_.front();
    waiting_.pop_front();
    Job& job = *running_;
    job.row.state = "running", job.begin = std::chrono::steady_clock::now();
    lock.unlock();
    try {
      parts_.store.update(job.row);
      run(job);
    } catch (const cs::Error& error) {
      finish(job, error.code() == cs::Code::cancelled ? "cancelled" : "failed", error.what());
    } catch (...) {
      finish(job, "failed", refusal_of_exception().words);
    }
    lock.lock();
    running_.reset();
    if (stop.stop_requested()) return;
  }
}

void Jobs::finish(Job& job, const std::string& state, const std::string& error) {
  std::error_code ignored;
  fs::remove_all(parts_.store / text("jobs/.", job.row.id), ignored);   // what was not finished
  const std::lock_guard lock(mutex_);
  job.row.state = state;
  if (!error.empty()) job.row.facts["error"] = error;
  try {
    parts_.store.update(job.row);
    if (!parts_.store.job(job.row.id)) fs::remove_all(parts_.store / text("jobs/", job.row.id), ignored);   // the scan is gone
  } catch (...) {   // the disk is full: nobody is left to be told, and the next job must find this thread
  }
}

void Jobs::run(Job& job) {
  cli::Device& device = parts_.device;
  const cs::Accuracy accuracy = job.options.accuracy.value_or(cs::Accuracy::standard);
  cs::RunRecord record{.command = "view", .accuracy = text(accuracy)};
  cs::RunClock clock(record);
  device.begin({.accuracy = accuracy, .cancel = job.stop.get_token()});
  cs::Context<cs::Cpu>& ctx = device.host();
  const std::string sha256 = cs::sha256_of(job.model.path);   // the file may be another one than at the last job
  if (!loaded_ || loaded_sha256_ != sha256) {
    loaded_.reset();
    loaded_ = std::make_unique<cs::LoadedModel>(cli::load_model_file(job.model.path, {.executor = &ctx.executor()}));
    loaded_sha256_ = sha256;
  }
  clock.stage("load model");
  const auto scan = parts_.scans.open(job.options.scan);
  const cs::Volume<float> volume = cs::reorient_like(scan->display, scan->stored);   // windows as `ctseg segment` lays them
  clock.stage("read");
  cs::SegmentOptions options{.overlap = job.options.overlap};
  options.progress = {[](void* user, double done) { static_cast<Job*>(user)->progress = done; }, &job};
  const cs::Segmentation result = device.segment({loaded_.get()}, {.channels = {&volume}}, options);
  clock.stage("segment");
  ctx.check_cancelled("job");
  const MaskRow mask = write(job, {*scan, volume, result, record, clock});
  {
    const std::lock_guard lock(mutex_);
    job.row.facts["mask"] = mask.id;
    job.row.facts["device"] = device.name();
    if (!device.reason().empty()) job.row.facts["device_reason"] = device.reason();
    job.row.facts["folder"] = (parts_.store / text("jobs/", job.row.id)).string();
    job.row.facts["files"] = {"job.json", "mask.nii.gz", "preview.png", "run.json"};
    job.row.facts["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - job.begin).count();
    const auto& s = result.seconds;
    job.row.facts["stages"] = {{"preprocess", s.preprocess},
                               {"network", s.network},
                               {"stitch", s.stitch},
                               {"resample", s.resample},
                               {"postprocess", s.postprocess}};
    job.row.state = "done";
    const std::string json = dumped(shown(job.row)) + "\n";
    const fs::path folder = parts_.store / text("jobs/.", job.row.id);
    cs::io::write_file(folder / "job.json", std::as_bytes(std::span(json)));
    fs::rename(folder, parts_.store / text("jobs/", job.row.id));
  }
  finish(job, "done", "");
}

MaskRow Jobs::write(Job& job, const Made& made) {
  const OpenScan& scan = made.scan;
  const cs::SegmentSeconds& seconds = made.result.seconds;
  const fs::path folder = parts_.store / text("jobs/.", job.row.id);
  fs::remove_all(folder);
  fs::create_directory(folder);
  cs::RunRecord& run = made.record;
  run.inputs = {parts_.store.scan(scan.id).value_or(ScanRow{}).name}, run.grid = scan.stored;
  run.model = job.model.path.string(), run.model_name = job.model.name, run.model_sha256 = loaded_sha256_;
  run.stages.pop_back();   // "segment", said more exactly
  run.stages.insert(run.stages.end(), {{"preprocess", seconds.preprocess},
                                       {"network", seconds.network},
                                       {"stitch", seconds.stitch},
                                       {"resample", seconds.resample},
                                       {"postprocess", seconds.postprocess}});
  const cs::Volume<std::uint8_t>& labels = *made.result.labels;
  const cs::Volume<std::uint8_t> display = to_display(scan, labels);
  std::vector<std::string> names;
  for (const LabelName& label : job.model.labels) {
    names.resize(std::max(names.size(), static_cast<std::size_t>(label.id) + 1));
    names[static_cast<std::size_t>(label.id)] = label.name;
  }
  run.labels = cs::measure_labels(labels, {.ct = &made.volume, .names = names});
  made.clock.stage("measure");
  cs::io::write_volume(folder / "mask.nii.gz", labels);
  cs::io::write_png(folder / "preview.png", cs::io::preview(scan.display, display));
  made.clock.stage("write");
  run.outputs = {"mask.nii.gz", "preview.png", "run.json"};
  run.device = parts_.device.name(), run.device_reason = parts_.device.reason();
  run.threads = parts_.device.host().executor().threads(), run.isa = text(parts_.device.host().traits().isa);
  made.clock.finish();
  const std::string json = cs::to_json(run);
  cs::io::write_file(folder / "run.json", std::as_bytes(std::span(json)));
  return parts_.masks.save(
      {.scan = scan.id, .job = job.row.id, .kind = "model", .model = job.model.name, .seconds = seconds.total}, scan,
      display.voxels(), job.model.labels);
}

}   // namespace viewer
