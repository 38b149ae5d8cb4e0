"""Drives the viewer's page in headless Chromium: what a person does with mouse and keys, and what is then to be seen.

browser.py URL SCAN FOLDER [PICTURES]
URL as `ctseg view` prints it, whose scan has one mask; SCAN is a second scan to upload; downloads go to FOLDER, and screenshots
to PICTURES.
"""

import pathlib
import sys
import time
from urllib.parse import urlsplit

import chromium

url, scan, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
pictures = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
page = chromium.Page(folder)


def check(condition, words):
    if not condition:
        raise chromium.Failed(words)


def shot(name):
    if pictures:
        page.screenshot(pictures / f"{name}.png")


def place(plane, voxel):
    """Where the middle of a voxel [x, y, z] is on the screen."""
    return page.evaluate(f"""(async () => {{
      const view = new (await import('/planes.js')).PlaneView('{plane}', $('#{plane}')), l = view.layout();
      const box = view.canvas.getBoundingClientRect(), v = {voxel};
      return [box.left + l.left + (v[view.plane.u] + 0.5) * l.scale_u, box.top + l.top + (v[view.plane.v] + 0.5) * l.scale_v];
    }})()""")


def pixel(x, y):
    """Red, green, blue of a canvas at a point of the screen."""
    return page.evaluate(f"""(() => {{
      const canvas = document.elementFromPoint({x}, {y}), box = canvas.getBoundingClientRect();
      return [...canvas.getContext('2d').getImageData({x} - box.left, {y} - box.top, 1, 1).data].slice(0, 3);
    }})()""")


def label_color():
    color = page.evaluate("state.labels.find(({id}) => id === state.label).color")
    return [int(color[at:at + 2], 16) for at in (1, 3, 5)]


def cross():
    return page.evaluate("state.cross")


def voxels(label=None):
    return page.evaluate(f"state.editor.voxels[{label or 'state.label'}]")


def status():
    return page.evaluate("$('#status').value")


def opens_with_its_scan():
    page.open(url)
    page.wait("state.voxels !== null")
    page.settle()
    page.wait("$('#status').value.includes('voxels of')")   # the last thing that opening says
    check(page.evaluate("location.hash") == "", "the token is still in the address bar")
    check(page.evaluate("$('#welcome').hidden"), "the welcome hides the scan")
    check(page.evaluate("$('#device').textContent").count("threads") == 1, "the device is not shown")
    shot("opened")


def planes_are_in_proportion():
    """Everything white: what is not black is as wide and high as the scan in millimetres."""
    for plane, u, v in (("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)):
        wide, high = page.evaluate(f"""(async () => {{
          Object.assign(state, {{level: -30000, width: 1, opacity: 0, outlines: false}});
          (await import('/state.js')).redraw();
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          const canvas = $('#{plane}'), white = (x, y, w, h) => {{
            const data = canvas.getContext('2d').getImageData(x, y, w, h).data;
            let count = 0;
            for (let i = 0; i < data.length; i += 4) if (data[i] > 250 && data[i + 2] > 250) ++count;
            return count;
          }};
          return [white(0, canvas.height * 0.4 | 0, canvas.width, 1), white(canvas.width * 0.4 | 0, 0, 1, canvas.height)];
        }})()""")
        size, spacing = page.evaluate("state.grid.size"), page.evaluate("state.grid.spacing")
        expected = size[u] * spacing[u] / (size[v] * spacing[v])
        check(high > 0 and abs(wide / high / expected - 1) < 0.03, f"{plane}: {wide} x {high} pixels, expected {expected:.3f}")
    page.evaluate("(Object.assign(state, {level: 40, width: 400, opacity: 0.4, outlines: true}), 0)")


def planes_are_the_right_way_round():
    """A block painted to the left, back and head is seen there, and the letters' sides are those sides."""
    size = page.evaluate("state.grid.size")
    block = [n - 4 for n in size]
    page.evaluate(f"""(async () => {{
      const {{editor, grid}} = state, [x0, y0, z0] = {block};
      editor.begin({{label: state.label}});
      for (let x = x0 - 2; x <= x0 + 2; ++x) for (let y = y0 - 2; y <= y0 + 2; ++y) for (let z = z0 - 2; z <= z0 + 2; ++z) {{
        editor.set(grid.index([x, y, z]), state.label);
      }}
      editor.end();
      state.opacity = 1;
      (await import('/state.js')).go_to([x0 - 2, y0 - 2, z0 - 2]);   // the crosshair beside the block's middle
    }})()""")
    page.settle()
    color = label_color()
    for plane, down, letters in (("axial", 1, "RLAP"), ("coronal", -1, "RLSI"), ("sagittal", -1, "APSI")):
        x, y = place(plane, block)
        check(pixel(x, y) == color, f"{plane}: the block has color {pixel(x, y)}, not {color}")
        other_x, other_y = place(plane, [0, 0, 0])
        check(x > other_x and down * (y - other_y) > 0, f"{plane}: block at {x}, {y}, first voxel at {other_x}, {other_y}")
        shown = page.evaluate(f"Object.values((await import('/volume.js')).kPlanes.{plane}.letters).join('')")
        check(shown == letters, f"{plane}: letters {shown}")
    page.key("z", control=True)
    page.evaluate("(state.opacity = 0.4, 0)")


def scrolls_and_links():
    before = cross()
    x, y = place("axial", before)
    page.wheel(x, y, 100)
    check(cross() == [before[0], before[1], before[2] - 1], f"the wheel led from {before} to {cross()}")
    page.drag([(x, y)])   # gives the plane the focus and stays at the crosshair
    page.key("PageUp")
    check(cross() == before, "Page Up")
    page.key("ArrowRight")
    check(cross() == [before[0] + 1, before[1], before[2]], "the right arrow")
    page.choose("[data-plane=coronal]", 5)
    check(cross()[1] == 4, "the coronal slider")
    target = [before[0] - 3, before[1] + 2, before[2]]
    page.drag([place("axial", target)])
    check(cross() == target, f"a click led to {cross()} instead of {target}")
    sliders = page.evaluate("[...document.querySelectorAll('[data-plane]')].map((s) => [s.dataset.plane, Number(s.value)])")
    check(dict(sliders) == {"axial": target[2] + 1, "coronal": target[1] + 1, "sagittal": target[0] + 1}, f"sliders: {sliders}")
    page.drag([place("sagittal", before)])
    check(cross() == [target[0], before[1], before[2]], "a click in the sagittal plane")
    page.evaluate("$('#labels label').dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))")
    check(page.evaluate("state.labels[0].centroid.every((c, k) => Math.abs(c - state.cross[k]) <= 0.5)"), "to a label's middle")
    page.drag([place("axial", target)])
    page.key("x")
    check(page.evaluate("state.center.every((c, k) => c === state.cross[k] + 0.5)"), "X does not center the crosshair")
    page.key("g")
    check(page.evaluate("state.labels[0].centroid.every((c, k) => Math.abs(c - state.cross[k]) <= 0.5)"), "G to a label's middle")
    page.key("0")


def window_and_opacity():
    x, y = place("axial", cross())
    page.drag([(x, y), (x + 30, y), (x + 60, y + 20)], button="right")
    level, width = page.evaluate("[state.level, state.width]")
    check(width > 440 and level > 50, f"dragging gave level {level}, width {width}")
    page.key("2")
    check(page.evaluate("[state.level, state.width]") == [-600, 1500], "key 2 is not the lung window")
    page.key("1")
    # The middle of 5 x 5 voxels of the mask.
    inside = page.evaluate("""(() => {
      const {grid, editor, label} = state, near = [-2, -1, 0, 1, 2], [nx, ny, nz] = grid.size;
      const is = (x, y, z) => editor.labels[grid.index([x, y, z])] === label;
      for (let z = 2; z < nz - 2; ++z) for (let y = 3; y < ny - 3; ++y) for (let x = 3; x < nx - 3; ++x) {
        if (near.every((d) => near.every((e) => is(x + d, y + e, z)))) return [x, y, z];
      }
    })()""")
    page.evaluate(f"(state.cross = [0, 0, {inside[2]}], 0)")
    colors = {}
    for opacity in (0, 50, 100):
        page.choose("#opacity", opacity)
        colors[opacity] = pixel(*place("axial", inside))
    color = label_color()
    check(colors[0][0] == colors[0][1] == colors[0][2], f"at opacity 0 the voxel is {colors[0]}, not grey")
    check(max(abs(a - b) for a, b in zip(colors[100], color)) <= 2, f"at opacity 100 the voxel is {colors[100]}, not {color}")
    middle = [(a + b) / 2 for a, b in zip(colors[0], color)]
    check(max(abs(a - b) for a, b in zip(colors[50], middle)) <= 3, f"at opacity 50 the voxel is {colors[50]}, not {middle}")
    page.click("#labels input[type=checkbox]")
    check(pixel(*place("axial", inside)) == colors[0], "a hidden label is still there")
    page.click("#labels input[type=checkbox]")
    page.choose("#opacity", 40)
    return inside


def paints_and_undoes(inside):
    volume = page.evaluate("Number($('#labels .number').textContent)")
    start = voxels()
    page.key("e")
    page.choose("#size", 6)
    x, y = place("axial", inside)
    page.drag([(x, y), (x + 8, y), (x + 16, y + 4)])
    erased = voxels()
    check(erased < start, "the eraser took nothing away")
    dice = page.evaluate("state.editor.dice(state.label)")
    check(abs(dice - 2 * erased / (start + erased)) < 1e-12, f"Dice is {dice}")
    check(page.evaluate("Number($('#labels .number').textContent)") < volume, "the volume shown did not change")
    shot("erased")
    page.key("z", control=True)
    check(voxels() == start and page.evaluate("state.editor.dice(state.label)") == 1, "undo did not bring the mask back")
    page.key("z", control=True, shift=True)
    check(voxels() == erased, "redo")
    page.key("b")
    page.drag([(x, y), (x + 8, y), (x + 16, y + 4)])
    check(voxels() >= start, "the brush did not paint it again")
    page.evaluate("(() => { while (state.editor.undo()); })()")
    check(page.evaluate("state.editor.done.length === 0 && state.editor.dice(state.label) === 1"), "undoing everything")


def undo_in_a_field_is_that_of_its_text(inside):
    """Ctrl+Z in the note takes back letters, not a stroke; Ctrl+S there saves all the same (saves_beside_the_models)."""
    page.drag([place("axial", [0, 0, inside[2]])])
    painted = voxels()
    steps = page.evaluate("state.editor.done.length")
    page.evaluate("$('#note').focus()")
    page.key("b")
    check(page.evaluate("$('#note').value") == "b", "the note did not get the letter")
    for _ in range(2):
        page.key("z", control=True)
    check(voxels() == painted and page.evaluate("state.editor.done.length") == steps > 0, "Ctrl+Z in the note undid a stroke")
    page.evaluate("($('#note').value = '', $('#note').blur())")
    page.key("z", control=True)
    check(page.evaluate("state.editor.done.length") == steps - 1, "Ctrl+Z beside the note undid nothing")


def fills(inside):
    """A hole in the mask is filled; background that is open is not."""
    start = voxels()
    page.evaluate(f"""(() => {{ const {{editor, grid}} = state; editor.begin({{label: state.label}});
      editor.set(grid.index({inside}), 0); editor.end(); }})()""")
    page.key("f")
    page.drag([place("axial", inside)])
    check(voxels() == start, "the hole was not filled")
    page.drag([place("axial", [0, 0, inside[2]])])
    check(voxels() == start and "open" in status(), "an open area was filled")


def outlines_lead_back():
    """Random masks: the voxels inside their outlines are just theirs."""
    wrong = page.evaluate("""(async () => {
      const {trace, rasterize} = await import('/contour.js');
      let seed = 1, wrong = 0;
      for (let n = 0; n < 200; ++n) {
        const w = 3 + n % 30, h = 4 + n % 23;
        const inside = Uint8Array.from({length: w * h}, () => (seed = seed * 48271 % 2147483647) % 100 < 55);
        wrong += rasterize(trace(inside, w, h), w, h).some((is, i) => is !== inside[i]);
      }
      return wrong;
    })()""")
    check(wrong == 0, f"{wrong} of 200 masks came back changed")


def contour_points(inside):
    page.key("c")
    page.drag([place("axial", inside)])
    page.wait("state.contour?.polygons.length > 0")
    leftmost = "state.contour.polygons[0].reduce((a, b) => b.u < a.u ? b : a)"

    def take_hold():
        point = page.evaluate(leftmost)
        return place("axial", [point["u"] - 0.5, point["v"] - 0.5, inside[2]])

    before = voxels()
    shot("contour")
    x, y = take_hold()
    page.drag([(x, y), (x - 6, y), (x - 12, y)])
    check(voxels() > before, "dragging a point outwards did not make the label larger")
    outlines = "(await import('/contour.js')).trace(slice.inside(state.editor.labels, state.label), slice.width, slice.height)"
    count = page.evaluate(f"""(async () => {{
      const {{Slice, kPlanes}} = await import('/volume.js'), slice = new Slice(state.grid, kPlanes.axial, {inside[2]});
      return {outlines}.length - state.contour.polygons.length;
    }})()""")
    check(count == 0, f"dragging a point left {count} holes or islands")
    slices = page.evaluate("[...new Set([...state.editor.done.at(-1).indices].map((i) => Math.floor(i / state.grid.step[2])))]")
    check(slices == [inside[2]], f"dragging a point changed slices {slices}")
    grown = voxels()
    points = page.evaluate("state.contour.polygons[0].length")
    page.drag([take_hold()], modifiers=8)
    check(page.evaluate("state.contour.polygons[0].length") < points, "Shift and click did not remove the point")
    check(voxels() <= grown, "without its outermost point the label grew")
    page.evaluate("(() => { while (state.editor.undo()); })()")
    check(voxels() == page.evaluate("state.editor.model_voxels[state.label]"), "undo after contour")


def interpolates():
    """Two discs four slices apart, drawn where the label is not: the slices between get discs too, at the same place."""
    page.key("b")
    page.choose("#size", 8)
    size = page.evaluate("state.grid.size")
    for plane, axis, middle in (("coronal", 1, [size[0] // 2, 0, 5]), ("axial", 2, [size[0] // 2, 5, 0])):
        areas = []
        for number in (size[axis] - 6, size[axis] - 2):
            middle[axis] = number
            page.choose(f"[data-plane={plane}]", number + 1)
            start = voxels()
            page.drag([place(plane, middle)])
            areas.append(voxels() - start)
        start = voxels()
        page.key("i")
        page.wait(f"$('#status').value.startsWith('Interpolated') && $('#status').value.includes('{plane}')")
        between = voxels() - start
        check(abs(between - 3 * areas[0]) <= 0.3 * areas[0], f"{plane}: {between} voxels between discs of {areas}")
        middle[axis] = size[axis] - 4
        check(page.evaluate(f"state.editor.labels[state.grid.index({middle})] === state.label"), f"{plane}: elsewhere")
    shot("interpolated")
    page.key("z", control=True)
    check(voxels() == start, "undo of the interpolation")


def unsaved_steps_are_known():
    """Steps older than undo remembers still count as not saved; undoing back to the saved mask counts as saved."""
    dirty = page.evaluate("""(async () => {
      const {MaskEditor} = await import('/editor.js'), {Grid} = await import('/volume.js');
      return [0, 1].map((saved) => {
        const lps = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];
        const editor = new MaskEditor(new Grid([300, 1, 1], [1, 1, 1], lps), new Uint8Array(300), null);
        for (let i = 0; i < 201; ++i) {
          editor.begin({});
          editor.set(i, 1);
          editor.end();
          if (saved && i === 0) editor.saved_at = editor.done.at(-1);
        }
        while (editor.undo());
        return [editor.labels[0], editor.labels[1], editor.dirty];
      });
    })()""")
    check(dirty == [[1, 0, True], [1, 0, False]], f"after 201 steps and 200 back: {dirty}")


def volumes_are_those_of_the_server():
    """Also of a scan whose gantry was tilted: its voxels are smaller than their edges multiplied."""
    shown = page.evaluate("state.labels.map(({id}) => state.editor.volume_ml(id))")
    said = page.evaluate("state.mask.labels.map(({volume_ml}) => volume_ml)")
    check(all(abs(a - b) < 1e-6 * (1 + b) for a, b in zip(shown, said)) and max(said) > 0, f"{shown} ml, not {said}")
    tilted = page.evaluate("""(async () => {
      const {Grid} = await import('/volume.js');
      return new Grid([2, 2, 2], [0.5, 0.5, 5], [[0.5, 0, 0, 1], [0, 0.5, 3, 2], [0, 0, 4, 3], [0, 0, 0, 1]]).voxel_ml;
    })()""")
    check(abs(tilted - 0.5 * 0.5 * 4 / 1000) < 1e-12, f"a tilted voxel has {tilted} ml")


def late_answers_change_nothing_else():
    """What the server answers late must not get onto what was opened meanwhile."""
    result = page.evaluate("""(async () => {
      const cases = await import('/cases.js'), corrections = await import('/corrections.js');
      const scan = state.scan.id, newest = state.mask.id, first = state.mask.parent;
      const shown = await Promise.all([cases.open_mask(newest), cases.open_mask(first)]);
      const saving = corrections.save('late');
      await cases.open_mask(newest);
      const saved = await saving, kept = state.mask.id === newest && !state.editor.dirty;
      const {editor, grid, label} = state, start = editor.voxels[label], was = [state.active, editor.voxels[label + 1]];
      state.active = 'axial';
      for (const z of [0, 4]) {
        editor.begin({label, axis: 2, slice: z});
        for (let i = 0; i < 9; ++i) editor.set(grid.index([i % 3, Math.floor(i / 3), z]), label);
        editor.end();
      }
      const drawn = editor.voxels[label], between = corrections.interpolate();
      state.label = label + 1;
      await between;
      const filled = [editor.voxels[label] > drawn, editor.voxels[label + 1] === was[1]];
      state.label = label;
      while (editor.undo());
      state.active = was[0];
      const opening = cases.open_mask(first);
      editor.begin({label});
      editor.set(0, editor.labels[0] === label ? 0 : label);
      editor.end();
      const refused = await opening.then(() => false, () => true);
      editor.undo();
      return {shown, kept, parent: saved.parent === first, filled, refused: refused && state.mask.id === newest};
    })()""")
    check(result == {"shown": [False, True], "kept": True, "parent": True, "filled": [True, True], "refused": True},
          f"late answers: {result}")


def saves_beside_the_models():
    old = page.evaluate("state.mask.id")
    page.evaluate("($('#note').value = 'two discs', $('#note').focus())")
    painted = voxels()
    page.key("s", control=True)
    page.wait("$('#status').value.startsWith('Saved as version 2')")
    check(page.evaluate("state.mask.parent") == old, "the new version does not know where it comes from")
    volume = page.evaluate("state.mask.labels.find(({id}) => id === state.label).volume_ml")
    mine = page.evaluate("state.editor.volume_ml(state.label)")
    check(abs(volume - mine) < 1e-3 * mine, f"the server counts {volume} ml, the page {mine} ml")
    same = page.evaluate(f"""(async () => {{
      const voxels = await (await import('/api.js')).mask_voxels({old});
      return voxels.every((v, i) => v === state.editor.model[i]);
    }})()""")
    check(same, "saving changed the model's mask")
    page.open("about:blank")
    check(not page.dialogs, f"a saved mask was asked about: {page.dialogs}")
    page.open(url)
    page.wait("state.voxels !== null && $('#status').value.includes('voxels of')")
    check(page.evaluate("state.mask.version") == 2 and voxels() == painted, "after loading again the correction is not there")
    check(page.evaluate("$('#versions').selectedOptions[0].text").endswith("two discs"), "the note is not shown")
    check(0 < page.evaluate("state.editor.dice(state.label)") < 1, "after loading again Dice is not that with the model's mask")


def takes_files_away():
    def downloaded(kind, end):
        before = set(folder.iterdir())
        page.choose("#download", kind)
        for _ in range(400):
            new = [f for f in set(folder.iterdir()) - before if f.name.endswith(end)]
            if new:
                return new[0].read_bytes()
            time.sleep(0.05)
            page.evaluate("0")
        raise chromium.Failed(f"no {end} was downloaded; the page says: {status()}")

    stl = downloaded("stl", ".stl")
    triangles = int.from_bytes(stl[80:84], "little")
    check(triangles > 100 and len(stl) == 84 + 50 * triangles, f"an STL of {len(stl)} bytes for {triangles} triangles")
    check(downloaded("png", ".png").startswith(b"\x89PNG"), "the montage is no PNG")
    check(downloaded("overlay", ".png").startswith(b"\x89PNG"), "the slice is no PNG")
    check(downloaded("nii.gz", ".nii.gz").startswith(b"\x1f\x8b"), "the mask is no .nii.gz")


def shows_the_mesh():
    page.click("#build")
    page.wait("$('#mesh_info').value.includes('triangles')")
    seen, shades = page.evaluate("""(() => {
      const gl = $('#mesh').getContext('webgl2'), {drawingBufferWidth: w, drawingBufferHeight: h} = gl;
      const data = new Uint8Array(4 * w * h);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, data);
      let seen = 0;
      const shades = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i] > 40) { ++seen; shades.add(data[i]); }
      return [seen / (w * h), shades.size];
    })()""")
    check(seen > 0.01 and shades > 20, f"the mesh fills {seen:.3f} of its view in {shades} shades")
    shot("mesh")
    check("simplified" not in page.evaluate("$('#mesh_info').value"), "the whole surface is said to be less")
    page.evaluate("""(() => {
      const has = window.has = Headers.prototype.has;   // as of a large organ
      Headers.prototype.has = function(name) { return name === 'X-Ctseg-Simplified' || has.call(this, name); };
    })()""")
    page.click("#build")
    page.wait("$('#mesh_info').value.includes('simplified')")
    page.evaluate("(Headers.prototype.has = window.has, 0)")


def segments_an_upload():
    accepted = page.evaluate("$('#scan_file').accept.split(',')")
    check({".nii", ".gz", ".mha", ".dcm", ".zip"} <= set(accepted), f"the file dialog shows {accepted} only")
    page.choose_file("#scan_file", scan)
    page.wait("state.scan.source === 'upload' && state.voxels !== null && $('#status').value.includes('voxels of')")
    check(page.evaluate("state.mask") is None, "a new scan has no mask")
    drawn_with = page.evaluate("state.labels.map(({name}) => name)")
    check(drawn_with == ["liver"], f"one draws from nothing with {drawn_with}, not with the model's labels")
    own = page.evaluate("""(async () => {
      const {editor, label} = state;
      editor.begin({label});
      editor.set(0, label);
      editor.end();
      const {id} = await (await import('/corrections.js')).save('mine');
      await (await import('/cases.js')).open_mask(id);
      return [state.mask.id === id, state.editor.voxels[label], state.editor.dice(label)];
    })()""")
    check(own == [True, 1, None], f"Dice with a first drawing: {own}")
    kept = page.evaluate("state.mask.labels.map(({name}) => name)")
    check(kept == drawn_with, f"drawn with {drawn_with}, and the saved version has {kept}")
    saved_by = [request for request in page.requests if "note=mine" in request]
    check(len(saved_by) == 1 and "model=1" in saved_by[0], f"the chosen model is not named, but the default taken: {saved_by}")
    device = page.evaluate("(() => { const {device} = state.info; state.info.device = 'elsewhere'; return device; })()")
    page.click("#segment")
    page.wait("$('#status').value.startsWith('Segmented in')", 60)
    check(f" s on {device}" in status(), f"segmented on {device}, and the page says {status()!r}")
    check(page.evaluate("state.editor.model !== null"), "the model's mask has no Dice")
    check("s" in page.evaluate("$('#seconds').value"), "the inference time is not shown")
    check(page.evaluate("state.mask.kind") == "model", "the mask is not the model's")
    shot("segmented")


def refuses_what_it_cannot_read():
    bad = folder / "no scan.nii"
    bad.write_bytes(b"no scan at all")
    page.choose_file("#scan_file", bad)
    page.wait("$('#status').className === 'error'")
    check(len(status()) > 20, f"the error says {status()!r}")
    page.complaints = [line for line in page.complaints if "422" not in line and "Error:" not in line]


def takes_one_file_at_a_time():
    """Several dropped files, or a folder, are not opened in part: they go in as a zip, and the page says so."""
    opened = page.evaluate("state.scan.id")
    x, y = place("axial", cross())
    other = folder / "other.nii"
    other.write_bytes(b"no scan either")
    for what in ([scan, str(other)], [str(folder)]):
        page.evaluate("($('#status').value = '', 0)")
        paths = [str(pathlib.Path(path).absolute()) for path in what]
        for kind in ("dragEnter", "dragOver", "drop"):
            page.call("Input.dispatchDragEvent", type=kind, x=x, y=y,
                      data={"items": [], "files": paths, "dragOperationsMask": 1})
        page.wait("$('#status').value !== ''")
        check("one zip" in status(), f"{len(what)} dropped: {status()!r}")
    check(page.evaluate("state.scan.id") == opened, "something was opened")
    page.complaints = [line for line in page.complaints if "drop one file" not in line]


def reload():
    """F5: the token is this tab's, and what was open is open again."""
    version = page.evaluate("state.mask.version")
    page.evaluate("(window.before = true, 0)")
    page.follow("{click: () => location.reload()}")
    page.wait(f"!window.before && state.mask?.version === {version} && $('#status').value.includes('voxels of')")


def masks_stay_on_their_scan():
    """What was open may be remembered wrong, and another server at the same port has other scans under the same numbers."""
    opened = page.evaluate("state.scan.id")
    case = page.evaluate("state.info.scan")
    newest = page.evaluate(f"(await (await import('/api.js')).scan({case})).masks.at(-1).id")
    check(opened != case, "the upload is not open")

    def remember(token=None):
        page.evaluate(f"""(() => {{
          sessionStorage.setItem('open', JSON.stringify({{scan: {opened}, mask: {newest}}}));
          if ({str(token is not None).lower()}) sessionStorage.setItem('token', '{token}');
        }})()""")

    remember()
    page.evaluate("(window.before = true, 0)")
    page.follow("{click: () => location.reload()}")
    page.wait("!window.before && $('#status').className === 'error'")
    check("of another scan" in status(), f"with another scan's mask the page says {status()!r}")
    check(page.evaluate("state.mask === null && state.editor === null"), "another scan's mask was opened")
    page.choose("#scans", opened)
    page.wait(f"state.scan?.id === {opened} && $('#status').value.includes('voxels of')")
    short = page.evaluate(f"""(async () => {{
      const real = fetch;
      window.fetch = async (path, ...more) => path.endsWith('/voxels') && path.startsWith('/masks')
        ? new Response(new Uint8Array(7)) : real(path, ...more);
      const said = await (await import('/cases.js')).open_mask(state.scan.masks[0].id).catch((error) => error.message);
      window.fetch = real;
      return said;
    }})()""")
    check("has 7 voxels" in str(short), f"a mask that is too short: {short}")
    page.complaints = [line for line in page.complaints if "of another scan" not in line]

    remember(token="of an earlier server")
    page.open("about:blank")
    page.open(url)
    page.wait("state.voxels !== null && $('#status').value.includes('voxels of')")
    now = page.evaluate("[state.scan.id, state.mask.id]")
    check(now == [case, newest], f"another server's page opened {now}, not its CASE {[case, newest]}")


def says_how_to_begin():
    """As a server without a scan and a model is met."""
    page.call("Page.addScriptToEvaluateOnNewDocument", source="""
      if (location.protocol !== 'about:') sessionStorage.removeItem('open');   // a blank page has none
      const real = fetch;
      window.fetch = async (path, ...more) => path === '/models' ? new Response('[]')
        : path === '/info' ? new Response(JSON.stringify({...await (await real(path, ...more)).json(), scan: null}))
        : real(path, ...more);""")
    page.open("about:blank")
    page.open(url)
    page.wait("!$('#welcome').hidden")
    check(page.evaluate("$('#welcome').innerText").count("DICOM") == 1, "the welcome does not say what can be opened")
    shot("welcome")
    page.choose("#scans", page.evaluate("$('#scans').options[1].value"))
    page.wait("state.voxels !== null && $('#welcome').hidden")
    page.click("#segment")
    check("Add model" in status(), f"without a model Segment says {status()!r}")


def remembers():
    page.open(url.split("#")[0] + "history.html")
    page.wait("$('#scans tbody').rows.length === 2 && $('#events tbody').rows.length >= 4")
    check("two discs" in page.evaluate("$('#scans').innerText"), "the history does not know the note")
    shot("history")
    page.follow("[...document.querySelectorAll('#scans a')].find((a) => a.textContent.includes('two discs'))")
    page.wait("state.mask?.version === 2")


def everything_has_a_name():
    """Controls that a screen reader finds must say what they are."""
    roles = {"button", "slider", "combobox", "textbox", "checkbox", "radio", "spinbutton", "img", "link"}
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    found = [n for n in nodes if not n.get("ignored") and n["role"]["value"] in roles]
    unnamed = [n["role"]["value"] for n in found if not n.get("name", {}).get("value")]
    check(len(found) > 30 and not unnamed, f"{len(found)} controls, without a name: {unnamed}")


def nothing_went_elsewhere():
    host = urlsplit(url).netloc
    strangers = [r for r in page.requests if urlsplit(r).netloc != host and not r.startswith(("blob:", "data:", "about:"))]
    check(not strangers, f"requests to others: {strangers}")
    check(not page.complaints, f"the console has: {page.complaints}")


def main():
    begin = time.monotonic()
    try:
        opens_with_its_scan()
        planes_are_in_proportion()
        planes_are_the_right_way_round()
        scrolls_and_links()
        inside = window_and_opacity()
        paints_and_undoes(inside)
        undo_in_a_field_is_that_of_its_text(inside)
        fills(inside)
        outlines_lead_back()
        contour_points(inside)
        interpolates()
        saves_beside_the_models()
        reload()
        takes_files_away()
        unsaved_steps_are_known()
        late_answers_change_nothing_else()
        shows_the_mesh()
        everything_has_a_name()
        segments_an_upload()
        refuses_what_it_cannot_read()
        takes_one_file_at_a_time()
        masks_stay_on_their_scan()
        remembers()
        says_how_to_begin()
        nothing_went_elsewhere()
    except chromium.Failed as error:
        print(f"browser: {error}", *(f"  console: {line}" for line in page.complaints), sep="\n", file=sys.stderr)
        shot("failed")
        raise
    finally:
        page.close()
    print(f"browser: all is as it should be, {time.monotonic() - begin:.1f} s")


main()
