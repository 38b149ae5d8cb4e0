// The 3-D view: one mesh, one light, turned by hand or by itself. WebGL 2 and nothing else.

const kVertexShader = `#version 300 es
in vec3 position, normal;
uniform mat4 turn, project;
out vec3 facing;
void main() {
  facing = mat3(turn) * normal;
  gl_Position = project * (turn * vec4(position, 1.0));
}`;

const kFragmentShader = `#version 300 es
precision mediump float;
in vec3 facing;
uniform vec3 color;
out vec4 pixel;
void main() {
  vec3 n = normalize(facing);
  float light = 0.35 + 0.65 * abs(dot(n, normalize(vec3(0.3, 0.5, 1.0)))) + 0.1 * pow(abs(n.z), 20.0);
  pixel = vec4(color * light, 1.0);
}`;

/** The server's mesh: uint32 vertices V and triangles T, 3 V float32 (LPS mm), 3 T uint32. */
export function read_mesh(buffer) {
  const [vertices, triangles] = new Uint32Array(buffer, 0, 2);
  const positions = new Float32Array(buffer, 8, 3 * vertices);
  return {positions, indices: new Uint32Array(buffer, 8 + positions.byteLength, 3 * triangles)};
}

/** A normal for each vertex: the mean of its triangles', larger ones counting more. The shader scales them to length 1. */
export function vertex_normals({positions, indices}) {
  const normals = new Float32Array(positions.length);
  for (let t = 0; t < indices.length; t += 3) {
    const [a, b, c] = [3 * indices[t], 3 * indices[t + 1], 3 * indices[t + 2]];
    const e = [0, 1, 2].map((k) => positions[b + k] - positions[a + k]);
    const f = [0, 1, 2].map((k) => positions[c + k] - positions[a + k]);
    const n = [e[1] * f[2] - e[2] * f[1], e[2] * f[0] - e[0] * f[2], e[0] * f[1] - e[1] * f[0]];
    for (const corner of [a, b, c]) for (let k = 0; k < 3; ++k) normals[corner + k] += n[k];
  }
  return normals;
}

export class MeshView {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", {preserveDrawingBuffer: true});
    this.count = 0;
    this.buffers = [];   // of the mesh that is shown
    this.yaw = 0.4;      // around the axis from feet to head
    this.pitch = 0.15;
    this.distance = 2.6;   // in radii of the mesh
    this.spinning = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (this.gl === null) return;
    this.program = this.link();
    this.listen();
    const frame = () => {
      if (this.spinning && this.count > 0 && !document.hidden) {
        this.yaw += 0.008;
        this.draw();
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  get available() {
    return this.gl !== null;
  }

  link() {
    const {gl} = this, program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, kVertexShader], [gl.FRAGMENT_SHADER, kFragmentShader]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  listen() {
    const {canvas} = this;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus();
      canvas.setPointerCapture(event.pointerId);
      last = event;
      this.spinning = false;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (last === null) return;
      this.turn((event.clientX - last.clientX) / 120, (event.clientY - last.clientY) / 120);
      last = event;
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY / 600));
    }, {passive: false});
    canvas.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => this.turn(-0.1, 0), ArrowRight: () => this.turn(0.1, 0),
        ArrowUp: () => this.turn(0, -0.1), ArrowDown: () => this.turn(0, 0.1),
        "+": () => this.zoom(0.9), "-": () => this.zoom(1.1), " ": () => { this.spinning = !this.spinning; },
      };
      if (!(event.key in actions)) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(1.5, Math.max(-1.5, this.pitch + pitch));
    this.draw();
  }

  zoom(factor) {
    this.distance = Math.min(10, Math.max(1.2, this.distance * factor));
    this.draw();
  }

  /** Shows a mesh in a color ("#rrggbb"). */
  show(mesh, color) {
    const {gl} = this, {positions, indices} = mesh;
    for (const buffer of this.buffers) gl.deleteBuffer(buffer);
    this.buffers = [];
    const upload = (target, data) => {
      this.buffers.push(gl.createBuffer());
      gl.bindBuffer(target, this.buffers.at(-1));
      gl.bufferData(target, data, gl.STATIC_DRAW);
    };
    for (const [name, data] of [["position", positions], ["normal", vertex_normals(mesh)]]) {
      const where = gl.getAttribLocation(this.program, name);
      upload(gl.ARRAY_BUFFER, data);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, 3, gl.FLOAT, false, 0, 0);
    }
    upload(gl.ELEMENT_ARRAY_BUFFER, indices);
    this.count = indices.length;
    this.color = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
    this.frame(positions);
    this.draw();
  }

  /** The middle of the mesh and its radius in millimetres. */
  frame(positions) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < positions.length; ++i) {
      low[i % 3] = Math.min(low[i % 3], positions[i]);
      high[i % 3] = Math.max(high[i % 3], positions[i]);
    }
    this.middle = low.map((value, k) => (value + high[k]) / 2);
    this.radius = Math.max(1e-3, Math.hypot(...low.map((value, k) => high[k] - value)) / 2);
  }

  draw() {
    const {gl, canvas} = this;
    const width = Math.round(canvas.clientWidth * devicePixelRatio);
    const height = Math.round(canvas.clientHeight * devicePixelRatio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.05, 0.06, 0.08, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (this.count === 0) return;
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.program);
    const place = (name) => gl.getUniformLocation(this.program, name);
    gl.uniformMatrix4fv(place("turn"), false, this.turn_matrix());
    gl.uniformMatrix4fv(place("project"), false, this.project_matrix());
    gl.uniform3fv(place("color"), this.color);
    gl.drawElements(gl.TRIANGLES, this.count, gl.UNSIGNED_INT, 0);
  }

  /**
   * LPS millimetres to the eye's axes (x right, y up, z towards us) in radii. Seen from the front: right on the screen is the
   * patient's left, up is the head. Column by column, as WebGL wants it.
   */
  turn_matrix() {
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    // Rows: eye x, y, z of (left, posterior, superior), after a turn around superior by yaw and around the eye's x by pitch.
    const rows = [[cy, -sy, 0], [sp * sy, sp * cy, cp], [-cp * sy, -cp * cy, sp]];
    const scaled = rows.map((row) => row.map((value) => value / this.radius));
    const shift = scaled.map((row) => -row.reduce((sum, value, k) => sum + value * this.middle[k], 0));
    shift[2] -= this.distance;
    return [0, 1, 2].flatMap((k) => [scaled[0][k], scaled[1][k], scaled[2][k], 0]).concat([...shift, 1]);
  }

  project_matrix() {
    const focal = 2.4, near = 0.1, far = 20, aspect = this.canvas.width / Math.max(1, this.canvas.height);
    const fit = Math.min(1, aspect);   // a narrow window shows the whole mesh too
    return [focal * fit / aspect, 0, 0, 0, 0, focal * fit, 0, 0,
            0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0];
  }
}
