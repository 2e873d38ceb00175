Page({
  data: { status: 'connecting', messages: [] },
  onLoad({ taskId, userId }) {
    const { link } = getApp()
    const show = ({ data }) => this.setData({ messages: this.data.messages.concat(data) })
    this.offs = [
      link.on('status', (status) => this.setData({ status })),
      link.subscribe(`task:${taskId}`, show, 'last 50'),
      link.subscribe(`user:${userId}`, show, 'last 50'),
    ]
    this.setData({ status: link.status })
  },
  onUnload() {
    this.offs.forEach((off) => off())
  },
  send({ detail }) {
    getApp()
      .link.publish('inbox', detail.value.text)
      .catch((error) => wx.showToast({ title: error.code, icon: 'none' }))
  },
})
