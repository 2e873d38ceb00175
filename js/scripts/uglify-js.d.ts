// What the build uses of it.
declare module 'uglify-js' {
  const UglifyJS: { minify(code: string, options: object): { code: string; error?: Error } }
  export default UglifyJS
}
